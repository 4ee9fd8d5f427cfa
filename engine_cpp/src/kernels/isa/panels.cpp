// Where an ISA has panels, their products.
#include "kernels/simd/simd.h"
#ifdef KTD_PANELS
// clang-format off
#include "kernels/panels.h"
#include "quant/activation.h"
#include "kernels/tiles.inl"
#include "kernels/panels.inl"
// clang-format on
#endif
