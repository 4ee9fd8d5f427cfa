// Four-bit indices into a table of 16 values: IQ4_NL, IQ4_XS, MXFP4, NVFP4. The nibbles of eight blocks of 32
// are brought together in two vectors, whatever lies between them in the file.

namespace ktd::KTD_ISA {
namespace {

constexpr int kRaiseIQ4 = 128, kRaiseE2M1 = 12;
constexpr Pattern kWeightsIQ4 = pattern([](int i) {
  constexpr int kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return kRaiseIQ4 + kValues[i % 16];
});
constexpr Pattern kWeightsE2M1 = pattern([](int i) {  // doubled
  constexpr int kValues[8] = {0, 1, 2, 3, 4, 6, 8, 12};
  return kRaiseE2M1 + (i % 16 < 8 ? 1 : -1) * kValues[i % 8];
});

// Table entries by the high nibble of each byte; look_up takes the low one.
KTD_WORD I look_up_high(const Pattern& table, I pairs) {
  return look_up(table, _mm512_srli_epi16(pairs, 4));
}

struct FormatIQ4_NL {
  using Block = BlockIQ4_NL;
  static constexpr int kScales = 1, kMost = 255;

  KTD_WORD Unpacked<1> unpack(const Block* b) {
    // Eight blocks are 144 bytes. Block 4 starts at 72; the last vector must not read beyond them.
    static constexpr Pattern kFirst = pattern([](int i) { return i / 32 * 64 + 18 * (i / 8 % 4) + i % 8; });
    static constexpr Pattern kSecond =
        pattern([](int i) { return i / 32 * (64 + 2) + 18 * (i / 8 % 4) + i % 8; });
    static constexpr Pattern kScale =
        pattern([](int i) { return i / 16 % 2 * 64 + 18 * (i / 4 % 4) + i % 2; });
    const auto* p = reinterpret_cast<const std::byte*>(b);
    const I first = gather_bytes(kFirst, p + 2, p + 74), second = gather_bytes(kSecond, p + 10, p + 80);
    const F scale = _mm512_cvtph_ps(_mm512_castsi512_si256(gather_bytes(kScale, p, p + 72)));
    return {{look_up(kWeightsIQ4, first), look_up(kWeightsIQ4, second), look_up_high(kWeightsIQ4, first),
             look_up_high(kWeightsIQ4, second)},
            {{scale}},
            {scale * set(kRaiseIQ4)}};
  }
};

struct FormatIQ4_XS {
  using Block = BlockIQ4_XS;
  static constexpr int kScales = 1, kMost = 255;

  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const I low = load_bytes(b->qs), high = load_bytes(b->qs + 64);
    const I first = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), high);
    const I second = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), high);
    const I twos = _mm512_srlv_epi32(_mm512_set1_epi32(b->scales_h << 4),
                                     _mm512_setr_epi32(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14));
    const I six =
        _mm512_ternarylogic_epi64(nibbles_of(word_at(b->scales_l)), twos, _mm512_set1_epi32(48), 0xf8);
    const F scale = to_float(minus(six, _mm512_set1_epi32(32))) * set(half(b->d));
    return {{look_up(kWeightsIQ4, first), look_up(kWeightsIQ4, second), look_up_high(kWeightsIQ4, first),
             look_up_high(kWeightsIQ4, second)},
            {{scale}},
            {scale * set(kRaiseIQ4)}};
  }
};

struct FormatMXFP4 {
  using Block = BlockMXFP4;
  static constexpr int kScales = 1, kMost = 2 * kRaiseE2M1;

  // Half of 2^(e - 127); the two smallest are subnormal floats.
  KTD_WORD F half_powers(I e) {
    const I normal = _mm512_slli_epi32(minus(e, _mm512_set1_epi32(1)), 23);
    const I tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    return _mm512_castsi512_ps(
        _mm512_mask_mov_epi32(normal, _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2)), tiny));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    // Eight blocks are 136 bytes, and block 4 starts at 68.
    static constexpr Pattern kFirst = pattern([](int i) { return i / 32 * 64 + 17 * (i / 8 % 4) + i % 8; });
    static constexpr Pattern kSecond =
        pattern([](int i) { return i / 32 * (64 + 5) + 17 * (i / 8 % 4) + i % 8; });
    static constexpr Pattern kScale = pattern([](int i) { return i / 32 * 64 + 17 * (i / 8 % 4); });
    const auto* p = reinterpret_cast<const std::byte*>(b);
    const I first = gather_bytes(kFirst, p + 1, p + 69), second = gather_bytes(kSecond, p + 9, p + 72);
    const I e = _mm512_and_si512(gather_bytes(kScale, p, p + 68), _mm512_set1_epi32(255));
    const F scale = half_powers(e);
    return {{look_up(kWeightsE2M1, first), look_up(kWeightsE2M1, second), look_up_high(kWeightsE2M1, first),
             look_up_high(kWeightsE2M1, second)},
            {{scale}},
            {scale * set(kRaiseE2M1)}};
  }
};

struct FormatNVFP4 {
  using Block = BlockNVFP4;
  static constexpr int kScales = 2, kMost = 2 * kRaiseE2M1;

  // Half of unsigned E4M3 floats with bias 7: their bits are those of a half, 2^8 too small. 0x7f is 0.
  KTD_WORD F half_e4m3(__m256i x) {
    const __m256i bits = _mm256_and_si256(_mm256_slli_epi16(x, 7), _mm256_set1_epi16(0x3f80));
    const __mmask16 number = _mm256_cmpneq_epi16_mask(x, _mm256_set1_epi16(0x7f));
    return _mm512_cvtph_ps(_mm256_maskz_mov_epi16(number, bits)) * set(0x1p7f);
  }
  KTD_WORD Unpacked<2> unpack(const Block* b) {
    // Four blocks are 144 bytes: 4 scales and 32 bytes, of which 8 hold the low and the high nibbles of 16.
    static constexpr Pattern kFirst =
        pattern([](int i) { return i / 32 * 64 + 36 * (i / 16 % 2) + 16 * (i / 8 % 2) + i % 8; });
    static constexpr Pattern kSecond =
        pattern([](int i) { return i / 32 * (64 + 4) + 36 * (i / 16 % 2) + 16 * (i / 8 % 2) + i % 8; });
    static constexpr Pattern kScale =
        pattern([](int i) { return i / 16 % 2 * 64 + 36 * (i / 8 % 2) + i / 2 % 4; });
    const auto* p = reinterpret_cast<const std::byte*>(b);
    const I first = gather_bytes(kFirst, p + 4, p + 76), second = gather_bytes(kSecond, p + 12, p + 80);
    const __m256i scales = _mm512_castsi512_si256(gather_bytes(kScale, p, p + 72));
    const F scale = half_e4m3(_mm256_and_si256(scales, _mm256_set1_epi16(255)));
    return {{look_up(kWeightsE2M1, first), look_up_high(kWeightsE2M1, first), look_up(kWeightsE2M1, second),
             look_up_high(kWeightsE2M1, second)},
            {{_mm512_moveldup_ps(scale)}, {_mm512_movehdup_ps(scale)}},
            {scale * set(kRaiseE2M1)}};
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
