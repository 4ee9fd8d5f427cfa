// One binding file per subject; each adds its classes and functions to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace ktd {

namespace nb = nanobind;

void bind_machine(nb::module_& m);
void bind_weights(nb::module_& m);
void bind_model(nb::module_& m);
void bind_routed_experts(nb::module_& m);
void bind_sampler(nb::module_& m);
void bind_quant(nb::module_& m);

}  // namespace ktd
