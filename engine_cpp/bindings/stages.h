// From the stages of engine/spec.py, read by attribute name, to the stages of the runtime.
#pragma once

#include <memory>
#include <vector>

#include "machine/machine.h"
#include "run/model.h"
#include "stages/experts.h"
#include "subjects.h"
#include "weights/weights.h"

namespace ktd {

// Reads a list of spec stages against the weights; `facts` gets what the model needs to know of them.
std::vector<std::unique_ptr<Stage>> read_stages(nb::sequence specs, const Weights& weights, Machine& machine,
                                                ModelFacts& facts);

// The routed experts of MoeFfn stages, without what else is in these.
std::vector<Experts> read_routed_experts(nb::sequence specs, const Weights& weights, bool streamed);

}  // namespace ktd
