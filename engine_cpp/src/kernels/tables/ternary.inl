// Weights of one or two bits and a single scale, for CPUs without byte permutes: Q1_0, Q2_0, TQ1_0, TQ2_0.

namespace ktd::KTD_ISA {
namespace {

struct FormatQ1_0 {
  using Block = BlockQ1_0;
  static constexpr int kScales = 1, kMost = 2;
  struct Ready {
    const Block* blocks;
    alignas(32) uint8_t bits[32];
  };

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.blocks = b;
    __builtin_memcpy(ready.bits, b[0].qs, 16);
    __builtin_memcpy(ready.bits + 16, b[1].qs, 16);
  }
  // 0 or 2: one less is the sign.
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    return with_signs<C, H>(Bytes{}, 1, r.bits);
  }
  KTD_WORD Unpacked<1> unpack(const Ready& r) {
    const float a = half(r.blocks[0].d), b = half(r.blocks[1].d);
    const Sixteen d = twice(_mm256_setr_ps(a, a, a, a, b, b, b, b));
    return with_columns<FormatQ1_0>(r, {{}, {d}, d});
  }
};

struct FormatQ2_0 {
  using Block = BlockQ2_0;
  static constexpr int kScales = 1, kMost = 3;

  // Two bytes of each block of 32 hold a group. Bits 2 i of a byte belong to weight i of four.
  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    const Bytes each = two_bytes_of_pairs<C, H>(b->qs, b->qs + 8, sizeof(Block));
    return bits_of_quarters(each);
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const float d0 = half(b[0].d), d1 = half(b[1].d), d2 = half(b[2].d), d3 = half(b[3].d);
    const Sixteen d = twice(_mm256_setr_ps(d0, d0, d1, d1, d2, d2, d3, d3));
    return with_columns<FormatQ2_0>(b, {{}, {d}, d});
  }
};

struct PlanesOfTwo {
  static constexpr int by(int j) { return -2 * (j % 4); }
};

struct FormatTQ2_0 {
  using Block = BlockTQ2_0;
  static constexpr int kScales = 1, kMost = 3;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return bits<3>(move<PlanesOfTwo, H>(fours<C, H>(b->qs)));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen d = sixteen(half(b->d));
    return with_columns<FormatTQ2_0>(b, {{}, {d}, d});
  }
};

struct FormatTQ1_0 {
  using Block = BlockTQ1_0;
  static constexpr int kScales = 1, kMost = 2;
  struct Ready {
    float d;
    alignas(64) uint8_t turned[256];
  };

  // The digits that a byte holds (see ref/ternary.cpp) leave it at the top, one by one: times three, the
  // first is what exceeds a byte.
  KTD_WORD __m256i digit(__m256i rest) {
    const auto from = [&](int least) KTD_INLINE {
      const __m256i bound = _mm256_set1_epi8(static_cast<char>(least));
      return _mm256_cmpeq_epi8(_mm256_max_epu8(rest, bound), rest);
    };
    const __m256i minus = _mm256_add_epi8(from(86), from(171));
    return _mm256_sub_epi8(_mm256_setzero_si256(), minus);
  }
  KTD_WORD __m256i next(__m256i rest) { return _mm256_add_epi8(rest, _mm256_add_epi8(rest, rest)); }
  // Digits of groups from weight `at` on, to their columns.
  KTD_WORD void put(uint8_t* turned, int at, __m128i digits) {
    const auto place = [](int weight) { return weight % 32 / 8 * 64 + weight / 32 * 8; };
    _mm_storel_epi64(reinterpret_cast<__m128i*>(turned + place(at)), digits);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(turned + place(at + 8)), _mm_unpackhi_epi64(digits, digits));
  }
  // Five planes of 32 bytes, five of 16 and four of 4, the last two side by side.
  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.d = half(b->d);
    __m256i many = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b->qs));
    __m256i few = _mm256_setr_m128i(load16(b->qs + 32), _mm_cvtsi32_si128(static_cast<int>(word_at(b->qh))));
    uint32_t fours[4];
    for (int place = 0; place < 5; ++place, many = next(many), few = next(few)) {
      const __m256i first = digit(many), second = digit(few);
      put(ready.turned, 32 * place, _mm256_castsi256_si128(first));
      put(ready.turned, 32 * place + 16, _mm256_extracti128_si256(first, 1));
      put(ready.turned, 160 + 16 * place, _mm256_castsi256_si128(second));
      if (place < 4)
        fours[place] = static_cast<uint32_t>(_mm_cvtsi128_si32(_mm256_extracti128_si256(second, 1)));
    }
    put(ready.turned, 240, load16(fours));
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    return load_bytes(r.turned + 64 * C + kBytes * H);
  }
  KTD_WORD Unpacked<1> unpack(const Ready& r) {
    const Sixteen d = sixteen(r.d);
    return with_columns<FormatTQ1_0>(r, {{}, {d}, d});
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
