// Four-bit indices into a table of 16 values, for CPUs without byte permutes: IQ4_NL, IQ4_XS, MXFP4, NVFP4.

namespace ktd::KTD_ISA {
namespace {

struct Values16 {
  alignas(16) int8_t at[16];
};
constexpr Values16 kValuesIQ4 = {{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}};
// Doubled, and raised by 12.
constexpr Values16 kValuesE2M1 = {{12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0}};
constexpr int kRaiseE2M1 = 12;

// Half H of column C of eight blocks of 16 bytes: low nibbles are the first 16 weights.
template <int C, int H>
KTD_WORD Bytes nibbles_of_blocks(const uint8_t* first, size_t stride) {
  const Bytes packed = eights<C % 2, H>(first, stride);
  return C < 2 ? bits<15>(packed) : high_nibbles(packed);
}

// Eight numbers of eight blocks, for both lanes of each.
template <class Block, class Number>
KTD_WORD __m256i of_eight(const Block* b, Number number) {
  return _mm256_setr_epi32(number(b[0]), number(b[1]), number(b[2]), number(b[3]), number(b[4]), number(b[5]),
                           number(b[6]), number(b[7]));
}

struct FormatIQ4_NL {
  using Block = BlockIQ4_NL;
  static constexpr int kScales = 1, kMost = kMostSigned;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return raise_signed(look_up16(kValuesIQ4.at, nibbles_of_blocks<C, H>(b->qs, sizeof(Block))));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen scale = twice(eight_halves(&b->d, sizeof(Block)));
    return with_columns<FormatIQ4_NL>(b, {{}, {scale}, scale * kRaisedSigned});
  }
};

struct FormatIQ4_XS {
  using Block = BlockIQ4_XS;
  static constexpr int kScales = 1, kMost = kMostSigned;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return raise_signed(look_up16(kValuesIQ4.at, nibbles_of_blocks<C, H>(b->qs, 16)));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(word_at(b->scales_l))),
                                          _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i high =
        _mm256_srlv_epi32(_mm256_set1_epi32(b->scales_h << 4), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    const __m256i six = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                        _mm256_and_si256(high, _mm256_set1_epi32(48)));
    const __m256 number = _mm256_cvtepi32_ps(_mm256_sub_epi32(six, _mm256_set1_epi32(32)));
    const Sixteen scale = twice(number * _mm256_set1_ps(half(b->d)));
    return with_columns<FormatIQ4_XS>(b, {{}, {scale}, scale * kRaisedSigned});
  }
};

struct FormatMXFP4 {
  using Block = BlockMXFP4;
  static constexpr int kScales = 1, kMost = 2 * kRaiseE2M1;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    return look_up16(kValuesE2M1.at, nibbles_of_blocks<C, H>(b->qs, sizeof(Block)));
  }
  // Half of 2^(e - 127); the two smallest are subnormal floats.
  KTD_WORD __m256 half_powers(__m256i e) {
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i least = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, least));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const Sixteen scale = twice(half_powers(of_eight(b, [](const Block& block) { return block.e; })));
    return with_columns<FormatMXFP4>(b, {{}, {scale}, scale * kRaiseE2M1});
  }
};

struct FormatNVFP4 {
  using Block = BlockNVFP4;
  static constexpr int kScales = 2, kMost = 2 * kRaiseE2M1;

  template <int C, int H>
  KTD_WORD Bytes column(const Block* b) {
    const Bytes packed = eights_of_pairs<C / 2, H>(b->qs, b->qs + 16, sizeof(Block));
    return look_up16(kValuesE2M1.at, C % 2 == 0 ? bits<15>(packed) : high_nibbles(packed));
  }
  // Unsigned E4M3 floats with bias 7 to halves, 2^8 too small; 0x7f is 0.
  KTD_WORD __m256i halves_of_e4m3(__m128i x) {
    const __m256i words = _mm256_cvtepu8_epi16(x);
    const __m256i bits = _mm256_and_si256(_mm256_slli_epi16(words, 7), _mm256_set1_epi16(0x3f80));
    return _mm256_andnot_si256(_mm256_cmpeq_epi16(words, _mm256_set1_epi16(0x7f)), bits);
  }
  KTD_WORD Unpacked<2> unpack(const Block* b) {
    const auto four = [&](int i) KTD_INLINE { return static_cast<int>(word_at(b[i].d)); };
    const __m128i scales = _mm_setr_epi32(four(0), four(1), four(2), four(3));
    const Sixteen s = sixteen_halves(halves_of_e4m3(scales)) * 0x1p7f;  // half of each
    return with_columns<FormatNVFP4>(b, {{}, {firsts(s), seconds(s)}, s * kRaiseE2M1});
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
