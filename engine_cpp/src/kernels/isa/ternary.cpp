// One or two bits with a single scale.
#include "kernels/family.inl"
#if defined(KTD_VBMI)
#include "kernels/vbmi/ternary.inl"
#elif defined(KTD_BYTES)
#include "kernels/tables/ternary.inl"
#endif

namespace ktd::KTD_ISA {

KTD_TURNED(Q1_0)
KTD_TURNED(Q2_0)
KTD_TURNED(TQ1_0)
KTD_TURNED(TQ2_0)

}  // namespace ktd::KTD_ISA
