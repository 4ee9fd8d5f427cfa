#include "kernels/peak.h"

namespace ktd {

// One table per ISA of the build; isa/peak.cpp defines them.
#define KTD_PEAK(isa)             \
  namespace isa {                 \
  extern const PeakKernels kPeak; \
  }
KTD_PEAK(scalar)
KTD_PEAK(avx2)
KTD_PEAK(avx512)
KTD_PEAK(avx512vbmi)
#undef KTD_PEAK

const PeakKernels& peak_kernels(Isa isa) {
  switch (isa) {
#if defined(KTD_HAVE_avx512vbmi)
    case Isa::Avx512Vbmi:
      return avx512vbmi::kPeak;
#endif
#if defined(KTD_HAVE_avx512)
    case Isa::Avx512:
      return avx512::kPeak;
#endif
#if defined(KTD_HAVE_avx2)
    case Isa::Avx2:
      return avx2::kPeak;
#endif
    default:
      return scalar::kPeak;
  }
}

}  // namespace ktd
