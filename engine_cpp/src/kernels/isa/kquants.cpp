#include "kernels/family.inl"
#ifdef KTD_BYTES
#include "kernels/kquants.inl"
#endif

namespace ktd::KTD_ISA {

KTD_TURNED(Q2_K)
KTD_TURNED(Q3_K)
KTD_TURNED(Q4_K)
KTD_TURNED(Q5_K)
KTD_TURNED(Q6_K)
KTD_TURNED(Q8_K)

}  // namespace ktd::KTD_ISA
