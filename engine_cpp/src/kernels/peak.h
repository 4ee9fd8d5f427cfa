// The most that an ISA multiplies: roofs for measurements.
#pragma once

#include <cstdint>

#include "machine/isa.h"

namespace ktd {

struct PeakKernels {
  // Multiply and add in registers, `rounds` times; return how many products that was. `sink` takes the sums.
  int64_t (*floats)(int64_t rounds, float* sink);
  int64_t (*bytes)(int64_t rounds, float* sink);  // of floats where the ISA multiplies no bytes
};

const PeakKernels& peak_kernels(Isa isa);

}  // namespace ktd
