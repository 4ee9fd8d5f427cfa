// Attention in the instructions of one ISA: CMake compiles this file once per row of its ISA list.
#include "kernels/attention.h"

#include "base/half.h"
#include "kernels/isa.h"
#include "kernels/simd/simd.h"
#include "quant/blocks.h"

// clang-format off
#include "kernels/tiles.inl"
#include "kernels/floats.inl"
#include "kernels/vectors.inl"
#include "kernels/cache_rows.inl"
#include "kernels/attention.inl"
// clang-format on

namespace ktd::KTD_ISA {
namespace {

consteval AttentionKernels make_attention() {
  AttentionKernels k{};
  const auto rows = [&k](TensorType type, StoreRowFn store, LoadRowsFn load) {
    k.store_row[static_cast<size_t>(type)] = store;
    k.load_rows[static_cast<size_t>(type)] = load;
  };
  rows(TensorType::F32, store_row<ItemF32>, load_rows<ItemF32>);
  rows(TensorType::F16, store_row<ItemF16>, load_rows<ItemF16>);
  rows(TensorType::BF16, store_row<ItemBF16>, load_rows<ItemBF16>);
  rows(TensorType::Q8_0, store_row_q8_0, load_rows_q8_0);
  k.turn_keys = turn_keys;
  k.attend = attend;
  return k;
}

}  // namespace

constinit const AttentionKernels kAttention = make_attention();

}  // namespace ktd::KTD_ISA
