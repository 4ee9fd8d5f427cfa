// From the stages of engine/spec.py, read by attribute name, to the stages of the runtime.
#pragma once

#include <memory>
#include <vector>

#include "machine/machine.h"
#include "run/model.h"
#include "subjects.h"
#include "weights/weights.h"

namespace ktd {

// Reads a list of spec stages against the weights; `facts` gets what the model needs to know of them.
std::vector<std::unique_ptr<Stage>> read_stages(nb::sequence specs, const Weights& weights, Machine& machine,
                                                ModelFacts& facts);

}  // namespace ktd
