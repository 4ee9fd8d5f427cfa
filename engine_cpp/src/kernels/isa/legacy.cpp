#include "kernels/family.inl"
#ifdef KTD_BYTES
#include "kernels/legacy.inl"
#endif

namespace ktd::KTD_ISA {

KTD_TURNED(Q4_0)
KTD_TURNED(Q4_1)
KTD_TURNED(Q5_0)
KTD_TURNED(Q5_1)
KTD_TURNED(Q8_0)
KTD_TURNED(Q8_1)

}  // namespace ktd::KTD_ISA
