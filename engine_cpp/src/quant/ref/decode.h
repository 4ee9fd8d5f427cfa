// The scalar truth: one block of each type to its weights, bit for bit what `gguf.quants.dequantize` gives.
// One file per family defines these; traits.cpp makes rows of them.
#pragma once

#include "quant/blocks.h"

namespace ktd {

// legacy.cpp
void decode(const BlockQ4_0& b, float* y);
void decode(const BlockQ4_1& b, float* y);
void decode(const BlockQ5_0& b, float* y);
void decode(const BlockQ5_1& b, float* y);
void decode(const BlockQ8_0& b, float* y);
void decode(const BlockQ8_1& b, float* y);
void decode(const BlockQ1_0& b, float* y);
void decode(const BlockQ2_0& b, float* y);

// kquants.cpp
void decode(const BlockQ2_K& b, float* y);
void decode(const BlockQ3_K& b, float* y);
void decode(const BlockQ4_K& b, float* y);
void decode(const BlockQ5_K& b, float* y);
void decode(const BlockQ6_K& b, float* y);
void decode(const BlockQ8_K& b, float* y);

// iquants.cpp
void decode(const BlockIQ2_XXS& b, float* y);
void decode(const BlockIQ2_XS& b, float* y);
void decode(const BlockIQ2_S& b, float* y);
void decode(const BlockIQ3_XXS& b, float* y);
void decode(const BlockIQ3_S& b, float* y);
void decode(const BlockIQ1_S& b, float* y);
void decode(const BlockIQ1_M& b, float* y);
void decode(const BlockIQ4_NL& b, float* y);
void decode(const BlockIQ4_XS& b, float* y);

// ternary.cpp
void decode(const BlockTQ1_0& b, float* y);
void decode(const BlockTQ2_0& b, float* y);

// mx.cpp
void decode(const BlockMXFP4& b, float* y);
void decode(const BlockNVFP4& b, float* y);

// floats.cpp: n weights at once, for a block of one would be all call and no work.
void decode(const BlockF32* b, float* y, int64_t n);
void decode(const BlockF16* b, float* y, int64_t n);
void decode(const BlockBF16* b, float* y, int64_t n);

}  // namespace ktd
