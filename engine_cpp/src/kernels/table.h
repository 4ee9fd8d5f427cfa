// What an ISA offers: one table of functions, compiled once per ISA, chosen once per machine.
// Kernels never allocate, lock or throw.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "machine/isa.h"
#include "quant/type.h"

namespace ktd {

// A tile of weight rows times a set of activation rows.
struct Matmul {
  const std::byte* rows;  // first weight row
  size_t row_bytes;       // from one weight row to the next
  int64_t n_rows;
  int64_t k;              // weights per row, a multiple of the type's block
  const std::byte* acts;  // activation row 0, in the format of the weight type's traits
  size_t act_bytes;       // from one activation row to the next
  const int32_t* gather;  // token t reads activation row gather[t]; null: row t
  int64_t n_tokens;
  float* out;  // out[t * out_stride + r]
  int64_t out_stride;
};
using MatmulFn = void (*)(const Matmul&);

struct Kernels {
  Isa isa;
  std::array<MatmulFn, kTypeSlots>
      matmul;  // never null for a type in all_traits(); scalar where no better exists
  // Values [begin, begin + count) of an activation row of n, from x[0..count); begin and count are multiples
  // of 32.
  void (*quantize_q8)(const float* x, std::byte* act, int64_t n, int64_t begin, int64_t count);
  void (*rms_norm)(const float* x, const float* weight, float eps, float* y, int64_t n);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, float* y, int64_t n);
  void (*silu_mul)(const float* gate, const float* up, float* y, int64_t n);  // y = silu(gate) * up
  void (*axpy)(float a, const float* x, float* y, int64_t n);                 // y += a * x
  const AttentionKernels* attention;
};

const Kernels& kernels(Isa isa);

}  // namespace ktd
