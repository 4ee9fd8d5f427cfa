// From blocks to the unsigned bytes of a panel: a weight is scale * byte - minimum.
//
//   kWeights, kGroup                        weights unpacked at once; weights that share a scale (16 or 32)
//   unpack(row, c, bytes, scale, minimum)   chunk c of a weight row

namespace ktd::KTD_ISA {
namespace {

struct PackQ8_0 {
  static constexpr int kWeights = 32, kGroup = 32;
  static void unpack(const std::byte* row, int64_t c, uint8_t* __restrict bytes, float* __restrict scale,
                     float* __restrict minimum) {
    const auto& b = reinterpret_cast<const BlockQ8_0*>(row)[c];
    for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(b.qs[i]) ^ 0x80;
    *scale = half(b.d);
    *minimum = 128 * *scale;
  }
};

struct PackQ4_0 {
  static constexpr int kWeights = 32, kGroup = 32;
  static void unpack(const std::byte* row, int64_t c, uint8_t* __restrict bytes, float* __restrict scale,
                     float* __restrict minimum) {
    const auto& b = reinterpret_cast<const BlockQ4_0*>(row)[c];
    for (int i = 0; i < 16; ++i) {
      bytes[i] = b.qs[i] & 15;
      bytes[i + 16] = b.qs[i] >> 4;
    }
    *scale = half(b.d);
    *minimum = 8 * *scale;
  }
};

struct SixBitNumbers {
  uint64_t scales, minima;  // eight bytes each
};

// The 6-bit scales and minima of Q4_K and Q5_K, four at a time in 32-bit words.
inline SixBitNumbers six_bit_numbers(const uint8_t* p) {
  uint32_t a, b, c;  // scales 0-3 and the top of 4-7; minima likewise; the low nibbles of both 4-7
  __builtin_memcpy(&a, p, 4);
  __builtin_memcpy(&b, p + 4, 4);
  __builtin_memcpy(&c, p + 8, 4);
  const uint64_t scales = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
  const uint64_t minima = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
  return {scales << 32 | (a & 0x3f3f3f3fu), minima << 32 | (b & 0x3f3f3f3fu)};
}

struct PackQ4_K {
  static constexpr int kWeights = 256, kGroup = 32;
  static void unpack(const std::byte* row, int64_t c, uint8_t* __restrict bytes, float* __restrict scale,
                     float* __restrict minimum) {
    const auto& b = reinterpret_cast<const BlockQ4_K*>(row)[c];
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 32; ++j) {
        bytes[64 * i + j] = b.qs[32 * i + j] & 15;
        bytes[64 * i + 32 + j] = b.qs[32 * i + j] >> 4;
      }
    const SixBitNumbers numbers = six_bit_numbers(b.scales);
    for (int g = 0; g < 8; ++g) {
      scale[g] = half(b.d) * static_cast<float>(numbers.scales >> 8 * g & 63);
      minimum[g] = half(b.dmin) * static_cast<float>(numbers.minima >> 8 * g & 63);
    }
  }
};

struct PackQ6_K {
  static constexpr int kWeights = 256, kGroup = 16;
  static void unpack(const std::byte* row, int64_t c, uint8_t* __restrict bytes, float* __restrict scale,
                     float* __restrict minimum) {
    const auto& b = reinterpret_cast<const BlockQ6_K*>(row)[c];
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 32; ++j) {
        const uint8_t low = b.ql[64 * i + j], next = b.ql[64 * i + 32 + j], high = b.qh[32 * i + j];
        uint8_t* to = bytes + 128 * i + j;
        to[0] = static_cast<uint8_t>((low & 15) | (high & 3) << 4);
        to[32] = static_cast<uint8_t>((next & 15) | (high >> 2 & 3) << 4);
        to[64] = static_cast<uint8_t>(low >> 4 | (high >> 4 & 3) << 4);
        to[96] = static_cast<uint8_t>(next >> 4 | high >> 6 << 4);
      }
    for (int g = 0; g < 16; ++g) {
      scale[g] = half(b.d) * static_cast<float>(b.scales[g]);
      minimum[g] = 32 * scale[g];
    }
  }
};

// Types without a packer of their own: decoded by the scalar reference and rounded again to bytes, per group
// of 32. The rounding is at most 1/254 of the group's largest weight.
template <class Block>
struct PackDecoded {
  static constexpr int kWeights = Block::kWeights < 32 ? 32 : Block::kWeights, kGroup = 32;
  static void unpack(const std::byte* row, int64_t c, uint8_t* __restrict bytes, float* __restrict scale,
                     float* __restrict minimum) {
    float w[kWeights];
    const auto* blocks = reinterpret_cast<const Block*>(row) + c * (kWeights / Block::kWeights);
    for (int i = 0; i < kWeights / Block::kWeights; ++i) decode(blocks[i], w + i * Block::kWeights);
    for (int g = 0; g < kWeights / 32; ++g) {
      float most = 0;
      for (int i = 0; i < 32; ++i) most = __builtin_fmaxf(most, __builtin_fabsf(w[32 * g + i]));
      const float up = most > 0 ? 127 / most : 0;
      for (int i = 0; i < 32; ++i)
        bytes[32 * g + i] = static_cast<uint8_t>(static_cast<int>(w[32 * g + i] * up + 128.5f));
      scale[g] = most / 127;
      minimum[g] = 128 * scale[g];
    }
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
