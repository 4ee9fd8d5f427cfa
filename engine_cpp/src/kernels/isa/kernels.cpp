// The table of one ISA: CMake compiles the files of this folder once per row of its ISA list.
// clang-format off
#include "kernels/isa.h"
#include "kernels/matmuls.h"
#include "kernels/simd/simd.h"
#include "quant/activation.h"
#include "kernels/tiles.inl"
#include "kernels/floats.inl"
#include "kernels/vectors.inl"
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
#define KTD_ROW(type) by[slot(TensorType::type)] = matmul_##type;
  KTD_EACH_QUANTISED(KTD_ROW)
#undef KTD_ROW
  by[slot(TensorType::F32)] = matmul<FloatRows<ItemF32>>;
  by[slot(TensorType::F16)] = matmul<FloatRows<ItemF16>>;
  by[slot(TensorType::BF16)] = matmul<FloatRows<ItemBF16>>;

  k.quantize_q8 = quantize_q8;
  k.rms_norm = rms_norm;
  k.layer_norm = layer_norm;
  k.silu_mul = silu_mul;
  k.axpy = axpy;
  k.attention = &kAttention;
  return k;
}

}  // namespace

constinit const Kernels kKernels = make_kernels();

}  // namespace ktd::KTD_ISA
