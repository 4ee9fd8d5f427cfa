// IQ1, IQ2 and IQ3.
#include "kernels/family.inl"
#include "quant/codebooks.h"
#if defined(KTD_VBMI)
#include "kernels/vbmi/iquants.inl"
#elif defined(KTD_BYTES)
#include "kernels/tables/iquants.inl"
#endif

namespace ktd::KTD_ISA {

KTD_TURNED(IQ1_S)
KTD_TURNED(IQ1_M)
KTD_TURNED(IQ2_XXS)
KTD_TURNED(IQ2_XS)
KTD_TURNED(IQ2_S)
KTD_TURNED(IQ3_XXS)
KTD_TURNED(IQ3_S)

}  // namespace ktd::KTD_ISA
