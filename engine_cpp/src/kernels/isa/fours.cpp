// Four-bit indices into a table of 16 values.
#include "kernels/family.inl"
#if defined(KTD_VBMI)
#include "kernels/vbmi/fours.inl"
#elif defined(KTD_BYTES)
#include "kernels/tables/fours.inl"
#endif

namespace ktd::KTD_ISA {

KTD_TURNED(IQ4_NL)
KTD_TURNED(IQ4_XS)
KTD_TURNED(MXFP4)
KTD_TURNED(NVFP4)

}  // namespace ktd::KTD_ISA
