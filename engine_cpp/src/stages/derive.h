// k_b from kv_b: files of early 2025 carry the key rows of a head as they multiply the latent, absorbed
// attention needs them transposed.
#pragma once

#include "base/memory.h"
#include "machine/pool.h"
#include "weights/tensor.h"

namespace ktd {

// Room for {nope, kv_lora} per head, as wide as the source needs: F32 and BF16 stay what they are, all else
// is F16.
Memory derive_memory(const Tensor& kv_b, int64_t heads, int64_t nope);

Matrix transpose_heads(const Tensor& kv_b, int64_t heads, int64_t nope, int64_t value, const Memory& into,
                       Pool& pool);

}  // namespace ktd
