// The blocks of every quantised GGUF tensor type, byte for byte as files hold them (little endian).
// Packed: a file may place a tensor at any byte, and most sizes are odd multiples of two.
#pragma once

#include <cstdint>

namespace ktd {

struct [[gnu::packed]] BlockF32 {
  static constexpr int kWeights = 1;
  float value;
};

struct [[gnu::packed]] BlockF16 {
  static constexpr int kWeights = 1;
  uint16_t bits;
};

struct [[gnu::packed]] BlockBF16 {
  static constexpr int kWeights = 1;
  uint16_t bits;
};

// --- 32 weights with one scale ---

struct [[gnu::packed]] BlockQ4_0 {
  static constexpr int kWeights = 32;
  uint16_t d;      // half
  uint8_t qs[16];  // low nibbles: weights 0-15, high: 16-31
};

struct [[gnu::packed]] BlockQ4_1 {
  static constexpr int kWeights = 32;
  uint16_t d, m;
  uint8_t qs[16];
};

struct [[gnu::packed]] BlockQ5_0 {
  static constexpr int kWeights = 32;
  uint16_t d;
  uint32_t qh;  // fifth bits, one per weight
  uint8_t qs[16];
};

struct [[gnu::packed]] BlockQ5_1 {
  static constexpr int kWeights = 32;
  uint16_t d, m;
  uint32_t qh;
  uint8_t qs[16];
};

struct [[gnu::packed]] BlockQ8_0 {
  static constexpr int kWeights = 32;
  uint16_t d;
  int8_t qs[32];
};

// ggml stores d and d * sum(qs) as halves, 36 bytes, since it moved both out of float; the `gguf` package
// still lists the 40 bytes of before. It is an activation format that no converter writes, so today's layout
// is the one a file could hold.
struct [[gnu::packed]] BlockQ8_1 {
  static constexpr int kWeights = 32;
  uint16_t d, s;
  int8_t qs[32];
};

struct [[gnu::packed]] BlockIQ4_NL {
  static constexpr int kWeights = 32;
  uint16_t d;
  uint8_t qs[16];  // indices into a fixed table
};

struct [[gnu::packed]] BlockMXFP4 {
  static constexpr int kWeights = 32;
  uint8_t e;       // E8M0 exponent
  uint8_t qs[16];  // E2M1
};

struct [[gnu::packed]] BlockNVFP4 {
  static constexpr int kWeights = 64;
  uint8_t d[4];    // UE4M3, one per 16 weights
  uint8_t qs[32];  // E2M1, 8 bytes per 16 weights: low nibbles first
};

struct [[gnu::packed]] BlockQ1_0 {
  static constexpr int kWeights = 128;
  uint16_t d;
  uint8_t qs[16];  // bit set: +d, clear: -d
};

struct [[gnu::packed]] BlockQ2_0 {
  static constexpr int kWeights = 64;
  uint16_t d;
  uint8_t qs[16];  // four consecutive weights a byte, (q - 1) * d
};

// --- 256 weights with scales of scales ---

struct [[gnu::packed]] BlockQ2_K {
  static constexpr int kWeights = 256;
  uint8_t scales[16];  // low nibble scale, high nibble minimum, per 16 weights
  uint8_t qs[64];
  uint16_t d, dmin;
};

struct [[gnu::packed]] BlockQ3_K {
  static constexpr int kWeights = 256;
  uint8_t hmask[32];   // third bits
  uint8_t qs[64];      // low two bits
  uint8_t scales[12];  // sixteen 6-bit scales
  uint16_t d;
};

struct [[gnu::packed]] BlockQ4_K {
  static constexpr int kWeights = 256;
  uint16_t d, dmin;
  uint8_t scales[12];  // eight 6-bit scales and eight 6-bit minima
  uint8_t qs[128];     // 32 bytes hold 64 weights: low nibbles, then high
};

struct [[gnu::packed]] BlockQ5_K {
  static constexpr int kWeights = 256;
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};

struct [[gnu::packed]] BlockQ6_K {
  static constexpr int kWeights = 256;
  uint8_t ql[128];    // 64 bytes hold the low nibbles of 128 weights
  uint8_t qh[64];     // 32 bytes hold their high two bits
  int8_t scales[16];  // per 16 weights
  uint16_t d;
};

struct [[gnu::packed]] BlockQ8_K {
  static constexpr int kWeights = 256;
  float d;
  int8_t qs[256];
  int16_t sums[16];  // of qs, per 16
};

struct [[gnu::packed]] BlockTQ1_0 {
  static constexpr int kWeights = 256;
  uint8_t qs[48];  // five base-3 digits a byte
  uint8_t qh[4];   // four digits a byte
  uint16_t d;
};

struct [[gnu::packed]] BlockTQ2_0 {
  static constexpr int kWeights = 256;
  uint8_t qs[64];
  uint16_t d;
};

// --- 256 weights by codebook ---

struct [[gnu::packed]] BlockIQ2_XXS {
  static constexpr int kWeights = 256;
  uint16_t d;
  struct [[gnu::packed]] {
    uint8_t index[4];
    uint32_t signs;  // four 7-bit sign words and, on top, a 4-bit scale
  } groups[8];       // 32 weights each
};

struct [[gnu::packed]] BlockIQ2_XS {
  static constexpr int kWeights = 256;
  uint16_t d;
  uint16_t qs[32];    // 9-bit index, 7-bit sign word
  uint8_t scales[8];  // nibbles, per 16 weights
};

struct [[gnu::packed]] BlockIQ2_S {
  static constexpr int kWeights = 256;
  uint16_t d;
  uint8_t qs[32];     // low index bytes
  uint8_t signs[32];  // one bit a weight
  uint8_t qh[8];      // high two index bits
  uint8_t scales[8];
};

struct [[gnu::packed]] BlockIQ3_XXS {
  static constexpr int kWeights = 256;
  uint16_t d;
  uint8_t qs[64];
  uint32_t signs[8];  // as in IQ2_XXS
};

struct [[gnu::packed]] BlockIQ3_S {
  static constexpr int kWeights = 256;
  uint16_t d;
  uint8_t qs[64];
  uint8_t qh[8];  // ninth index bits
  uint8_t signs[32];
  uint8_t scales[4];  // nibbles, per 32 weights
};

struct [[gnu::packed]] BlockIQ1_S {
  static constexpr int kWeights = 256;
  uint16_t d;
  uint8_t qs[32];
  uint16_t qh[8];  // per 32 weights: four times 3 index bits, a 3-bit scale, the sign of the shift
};

struct [[gnu::packed]] BlockIQ1_M {
  static constexpr int kWeights = 256;
  uint8_t qs[32];
  uint8_t qh[16];      // per 8 weights: 3 index bits, the sign of the shift
  uint16_t scales[4];  // four 3-bit scales (per 16 weights) and, on top, a nibble of the half scale
};

struct [[gnu::packed]] BlockIQ4_XS {
  static constexpr int kWeights = 256;
  uint16_t d;
  uint16_t scales_h;  // high two bits of eight 6-bit scales
  uint8_t scales_l[4];
  uint8_t qs[128];
};

static_assert(sizeof(BlockF32) == 4 && sizeof(BlockF16) == 2 && sizeof(BlockBF16) == 2);
static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ8_1) == 36);
static_assert(sizeof(BlockIQ4_NL) == 18 && sizeof(BlockMXFP4) == 17 && sizeof(BlockNVFP4) == 36);
static_assert(sizeof(BlockQ1_0) == 18 && sizeof(BlockQ2_0) == 18);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockQ8_K) == 292);
static_assert(sizeof(BlockTQ1_0) == 54 && sizeof(BlockTQ2_0) == 66);
static_assert(sizeof(BlockIQ2_XXS) == 66 && sizeof(BlockIQ2_XS) == 74 && sizeof(BlockIQ2_S) == 82);
static_assert(sizeof(BlockIQ3_XXS) == 98 && sizeof(BlockIQ3_S) == 110 && sizeof(BlockIQ4_XS) == 136);
static_assert(sizeof(BlockIQ1_S) == 50 && sizeof(BlockIQ1_M) == 56);

}  // namespace ktd
