// Weights by codebook, 4-bit tables, and one or two bits with one scale.
#include "kernels/family.inl"
#ifdef KTD_CODES
// clang-format off
#include "quant/codebooks.h"
#include "kernels/vbmi/iquants.inl"
#include "kernels/vbmi/fours.inl"
#include "kernels/vbmi/ternary.inl"
// clang-format on
#define KTD_CODED(type) KTD_TURNED(type)
#else
#define KTD_CODED(type) KTD_DECODED(type)
#endif

namespace ktd::KTD_ISA {

KTD_CODED(IQ1_S)
KTD_CODED(IQ1_M)
KTD_CODED(IQ2_XXS)
KTD_CODED(IQ2_XS)
KTD_CODED(IQ2_S)
KTD_CODED(IQ3_XXS)
KTD_CODED(IQ3_S)
KTD_CODED(IQ4_NL)
KTD_CODED(IQ4_XS)
KTD_CODED(MXFP4)
KTD_CODED(NVFP4)
KTD_CODED(Q1_0)
KTD_CODED(Q2_0)
KTD_CODED(TQ1_0)
KTD_CODED(TQ2_0)

}  // namespace ktd::KTD_ISA
