#include "kernels/table.h"

#include "kernels/isa.h"

namespace ktd {

const Kernels& kernels(Isa isa) {
  switch (isa) {
#if defined(KTD_HAVE_avx512vbmi)
    case Isa::Avx512Vbmi:
      return avx512vbmi::kKernels;
#endif
#if defined(KTD_HAVE_avx512)
    case Isa::Avx512:
      return avx512::kKernels;
#endif
#if defined(KTD_HAVE_avx2)
    case Isa::Avx2:
      return avx2::kKernels;
#endif
    default:
      return scalar::kKernels;
  }
}

}  // namespace ktd
