// The tables that the per-ISA files define; table.cpp chooses among them.
#pragma once

#include "kernels/table.h"

namespace ktd::scalar {
inline constexpr Isa kIsa = Isa::Scalar;
extern const Kernels kKernels;
extern const AttentionKernels kAttention;
}  // namespace ktd::scalar

namespace ktd::avx2 {
inline constexpr Isa kIsa = Isa::Avx2;
extern const Kernels kKernels;
extern const AttentionKernels kAttention;
}  // namespace ktd::avx2

namespace ktd::avx512 {
inline constexpr Isa kIsa = Isa::Avx512;
extern const Kernels kKernels;
extern const AttentionKernels kAttention;
}  // namespace ktd::avx512

namespace ktd::avx512vbmi {
inline constexpr Isa kIsa = Isa::Avx512Vbmi;
extern const Kernels kKernels;
extern const AttentionKernels kAttention;
}  // namespace ktd::avx512vbmi
