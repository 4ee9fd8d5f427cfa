// All kernels in the instructions of one ISA: CMake compiles this file once per row of its ISA list.
#include "kernels/isa.h"
#include "kernels/simd/simd.h"
#include "quant/activation.h"
#include "quant/ref/decode.h"

// The families, in the order in which they build on each other.
// clang-format off
#include "kernels/tiles.inl"
#include "kernels/floats.inl"
#include "kernels/decoded.inl"
#ifdef KTD_BYTES
#include "kernels/quantised.inl"
#include "kernels/legacy.inl"
#include "kernels/kquants.inl"
#else
#include "kernels/no_bytes.inl"
#endif
#include "kernels/packers.inl"
#ifdef KTD_PANELS
#include "kernels/panels.inl"
#else
#include "kernels/rows_only.inl"
#endif
#include "kernels/elementwise.inl"
// clang-format on

namespace ktd::KTD_ISA {
namespace {

consteval size_t slot(TensorType type) {
  return static_cast<size_t>(type);
}

// consteval: nothing of std::array is left to be compiled for this ISA.
consteval Kernels make_kernels() {
  Kernels k{};
  k.isa = kIsa;
  auto& by = k.matmul;
#define KTD_DECODED(type) \
  by[slot(TensorType::type)] = any_tokens<PackDecoded<Block##type>, matmul_decoded<Block##type>>()
  KTD_DECODED(Q4_1), KTD_DECODED(Q5_0), KTD_DECODED(Q5_1), KTD_DECODED(Q8_1), KTD_DECODED(Q1_0);
  KTD_DECODED(Q2_0), KTD_DECODED(Q2_K), KTD_DECODED(Q3_K), KTD_DECODED(Q5_K), KTD_DECODED(Q8_K);
  KTD_DECODED(IQ2_XXS), KTD_DECODED(IQ2_XS), KTD_DECODED(IQ2_S), KTD_DECODED(IQ3_XXS), KTD_DECODED(IQ3_S);
  KTD_DECODED(IQ1_S), KTD_DECODED(IQ1_M), KTD_DECODED(IQ4_NL), KTD_DECODED(IQ4_XS), KTD_DECODED(TQ1_0);
  KTD_DECODED(TQ2_0), KTD_DECODED(MXFP4), KTD_DECODED(NVFP4);
#undef KTD_DECODED
  by[slot(TensorType::F32)] = matmul<FloatRows<ItemF32>>;
  by[slot(TensorType::F16)] = matmul<FloatRows<ItemF16>>;
  by[slot(TensorType::BF16)] = matmul<FloatRows<ItemBF16>>;
  by[slot(TensorType::Q8_0)] = any_tokens<PackQ8_0, kRowsQ8_0>();
  by[slot(TensorType::Q4_0)] = any_tokens<PackQ4_0, kRowsQ4_0>();
  by[slot(TensorType::Q4_K)] = any_tokens<PackQ4_K, kRowsQ4_K>();
  by[slot(TensorType::Q6_K)] = any_tokens<PackQ6_K, kRowsQ6_K>();

  k.mix_rows[slot(TensorType::F32)] = mix_rows<ItemF32>;
  k.mix_rows[slot(TensorType::F16)] = mix_rows<ItemF16>;
  k.mix_rows[slot(TensorType::BF16)] = mix_rows<ItemBF16>;
  k.store_row[slot(TensorType::F32)] = store_row<ItemF32>;
  k.store_row[slot(TensorType::F16)] = store_row<ItemF16>;
  k.store_row[slot(TensorType::BF16)] = store_row<ItemBF16>;
  k.quantize_q8 = quantize_q8;
  k.rms_norm = rms_norm;
  k.layer_norm = layer_norm;
  k.silu_mul = silu_mul;
  k.axpy = axpy;
  k.max = max_value;
  k.exp_sub_sum = exp_sub_sum;
  return k;
}

}  // namespace

constinit const Kernels kKernels = make_kernels();

}  // namespace ktd::KTD_ISA
