// All kernels in the instructions of one ISA: CMake compiles this file once per row of its ISA list.
#include "kernels/isa.h"
#include "kernels/simd/simd.h"
#include "quant/activation.h"
#include "quant/codebooks.h"
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
#ifdef KTD_TURNED
#include "kernels/turned.inl"
#include "kernels/vbmi/iquants.inl"
#include "kernels/vbmi/fours.inl"
#include "kernels/vbmi/ternary.inl"
#endif
#include "kernels/packers.inl"
#ifdef KTD_PANELS
#include "kernels/panels.inl"
#ifdef KTD_TURNED
#include "kernels/turned_panels.inl"
#endif
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
  KTD_DECODED(Q4_1), KTD_DECODED(Q5_0), KTD_DECODED(Q5_1), KTD_DECODED(Q8_1), KTD_DECODED(Q2_K);
  KTD_DECODED(Q3_K), KTD_DECODED(Q5_K), KTD_DECODED(Q8_K);
#ifdef KTD_TURNED
#define KTD_TURNED_ROW(type) \
  by[slot(TensorType::type)] = any_tokens<PackTurned<Format##type>, matmul<TurnedRows<Format##type>>>()
#else
#define KTD_TURNED_ROW KTD_DECODED
#endif
  KTD_TURNED_ROW(IQ1_S), KTD_TURNED_ROW(IQ1_M), KTD_TURNED_ROW(IQ2_XXS), KTD_TURNED_ROW(IQ2_XS);
  KTD_TURNED_ROW(IQ2_S), KTD_TURNED_ROW(IQ3_XXS), KTD_TURNED_ROW(IQ3_S), KTD_TURNED_ROW(IQ4_NL);
  KTD_TURNED_ROW(IQ4_XS), KTD_TURNED_ROW(MXFP4), KTD_TURNED_ROW(NVFP4), KTD_TURNED_ROW(Q1_0);
  KTD_TURNED_ROW(Q2_0), KTD_TURNED_ROW(TQ1_0), KTD_TURNED_ROW(TQ2_0);
#undef KTD_TURNED_ROW
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
