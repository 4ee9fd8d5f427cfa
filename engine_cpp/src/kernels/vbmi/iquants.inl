// IQ1, IQ2 and IQ3 with byte permutes. Grids of up to 512 points are looked up in registers, two bits or
// three of a coordinate in place of a byte; a sign bit beside them names the raised weight in one last
// permute. The larger grids are 8-byte points in memory.

namespace ktd::KTD_ISA {
namespace {

// Seven sign bits of each byte, from bit `from` on, and an eighth that makes their number even.
template <int from>
KTD_WORD I even_signs(I x) {
  static constexpr Pattern kRows =
      pattern([](int i) { return i % 8 == 0 ? 0x7f << from : 1 << (7 - i % 8 + from); });
  return _mm512_gf2p8affine_epi64_epi8(x, load(kRows), 0);
}

// Column C of 2-bit codes. The signs of its group are eight bits of the quadword from kSigns on.
template <int C, int kSigns>
KTD_WORD Bytes column2(I codes, I signs) {
  static constexpr Pattern kCodes = pattern([](int i) { return 16 * C + 2 * (i % 8); });
  static constexpr Pattern kMinus = pattern([](int i) { return (kSigns + i % 8 + 62) % 64; });  // to bit 2
  static constexpr Pattern kWeights = pattern([](int i) {
    constexpr int kMagnitudes[4] = {8, 25, 43, 0};
    return kRaiseIQ2 + (i % 8 < 4 ? kMagnitudes[i % 4] : -kMagnitudes[i % 4]);
  });
  return look_up(kWeights, choose(_mm512_set1_epi8(4), multishift(kMinus, signs), multishift(kCodes, codes)));
}

// Column C of 3-bit codes, whose group has a doubleword of `codes`: four codes in each half of it.
template <int C, int kSigns>
KTD_WORD Bytes column3(const Pattern& weights, I codes, I signs) {
  static constexpr Pattern kCodes =
      pattern([](int i) { return 32 * (C % 2) + 16 * (i / 4 % 2) + 3 * (i % 4); });
  static constexpr Pattern kMinus = pattern([](int i) { return (kSigns + i % 8 + 61) % 64; });  // to bit 3
  return look_up(weights, choose(_mm512_set1_epi8(8), multishift(kMinus, signs), multishift(kCodes, codes)));
}

// Two planes of points to columns: those of columns 0 and 1, and of 2 and 3.
struct Codes3 {
  I first, second;
};
KTD_WORD Codes3 pair_up(I low, I high) {
  const I even = _mm512_unpacklo_epi8(low, high), odd = _mm512_unpackhi_epi8(low, high);
  return {_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd)};
}

// 32 bytes as the low halves of words.
KTD_WORD I words(const uint8_t* p) {
  return _mm512_cvtepu8_epi16(load32(p));
}

struct FormatIQ2_XXS {
  using Block = BlockIQ2_XXS;
  static constexpr int kScales = 1, kMost = 2 * kRaiseIQ2;

  KTD_WORD Unpacked<1> unpack(const Block* b) {
    static constexpr Pattern kIndices =
        pattern([](int i) { return i % 2 == 0 ? i / 8 * 8 % 16 + i / 2 % 4 : 0x80; });
    static constexpr Pattern kSevens = pattern([](int i) { return 32 + 7 * (i % 4); });
    const I groups = load_bytes(b->groups);
    const I codes = look_up_words<4>(kGridIQ2_XXS, shuffle(groups, kIndices));
    const I signs = even_signs<0>(multishift(kSevens, groups));
    const F d = set(half(b->d));
    const I scales = _mm512_shuffle_epi32(_mm512_srli_epi32(groups, 28), _MM_PERM_DDBB);
    const F scale = fma(to_float(scales), d * set(0.25f), d * set(0.125f));
    return {{column2<0, 0>(codes, signs), column2<1, 8>(codes, signs), column2<2, 16>(codes, signs),
             column2<3, 24>(codes, signs)},
            {{scale}},
            {scale * set(kRaiseIQ2)}};
  }
};

// Two scales for each 32 weights, in the nibbles of a byte.
struct NibbleScales {
  F first, second;
};
KTD_WORD NibbleScales nibble_scales(const uint8_t* p, float d) {
  static constexpr Pattern kTwice = pattern([](int i) { return i % 4 == 0 ? i / 8 : 0x80; });
  const I bytes = shuffle(_mm512_set1_epi64(static_cast<long long>(quadword_at(p))), kTwice);
  const F unit = set(d * 0.25f), least = set(d * 0.125f);
  return {fma(to_float(_mm512_and_si512(bytes, _mm512_set1_epi32(15))), unit, least),
          fma(to_float(_mm512_srli_epi32(bytes, 4)), unit, least)};
}

struct FormatIQ2_XS {
  using Block = BlockIQ2_XS;
  static constexpr int kScales = 2, kMost = 2 * kRaiseIQ2;

  KTD_WORD Unpacked<2> unpack(const Block* b) {
    const I groups = load_bytes(b->qs);
    const I codes = look_up_words<8>(kGridIQ2_XS, groups);
    const I signs = even_signs<1>(groups);  // of the high bytes
    const NibbleScales s = nibble_scales(b->scales, half(b->d));
    return {{column2<0, 8>(codes, signs), column2<1, 24>(codes, signs), column2<2, 40>(codes, signs),
             column2<3, 56>(codes, signs)},
            {{s.first}, {s.second}},
            {interleave(s.first, s.second) * set(kRaiseIQ2)}};
  }
};

struct FormatIQ2_S : FromIndex<BlockIQ2_S> {
  static constexpr int kScales = 2, kMost = 2 * kRaiseIQ2;

  // Raised magnitudes to raised weights: minus is twice the raise less this.
  template <int C>
  KTD_WORD Bytes column(const uint16_t* index, I signs) {
    static constexpr Pattern kSigns = pattern([](int i) { return 8 * C + i % 8; });
    const I plus = points<C>(kPointsIQ2_S.at, index);
    const __mmask64 minus = _mm512_bitshuffle_epi64_mask(signs, load(kSigns));
    return _mm512_mask_sub_epi8(plus, minus, _mm512_set1_epi8(2 * kRaiseIQ2), plus);
  }
  KTD_WORD void open(const Block* b, Ready& ready) {
    static constexpr Pattern kHigh = pattern([](int i) { return i % 8 / 2 * 2; });
    const __m128i pairs = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b->qh));
    const I high = multishift(kHigh, _mm512_cvtepu8_epi64(pairs));
    ready.block = b;
    spill(ready.index, choose(_mm512_set1_epi16(0x0300), high, words(b->qs)));
  }
  KTD_WORD Unpacked<2> unpack(const Ready& ready) {
    const I signs = _mm512_cvtepu32_epi64(load32(ready.block->signs));
    const NibbleScales s = nibble_scales(ready.block->scales, half(ready.block->d));
    return {{column<0>(ready.index, signs), column<1>(ready.index, signs), column<2>(ready.index, signs),
             column<3>(ready.index, signs)},
            {{s.first}, {s.second}},
            {interleave(s.first, s.second) * set(kRaiseIQ2)}};
  }
};

struct FormatIQ3_XXS {
  using Block = BlockIQ3_XXS;
  static constexpr int kScales = 1, kMost = 2 * kRaiseIQ3_XXS;

  KTD_WORD Unpacked<1> unpack(const Block* b) {
    static constexpr Pattern kWeights = pattern([](int i) {
      constexpr int kMagnitudes[8] = {4, 12, 20, 28, 36, 44, 52, 62};
      return kRaiseIQ3_XXS + (i % 16 < 8 ? kMagnitudes[i % 8] : -kMagnitudes[i % 8]);
    });
    static constexpr Pattern kSevens = pattern([](int i) { return 7 * (i % 4); });
    const I index = load_bytes(b->qs);
    const __mmask64 upper = _mm512_movepi8_mask(index);
    const auto plane = [&](const uint8_t* p) KTD_INLINE {
      return _mm512_mask_mov_epi8(look_up_bytes(p, index), upper, look_up_bytes(p + 128, index));
    };
    const Codes3 codes = pair_up(plane(kPlanesIQ3_XXS.at), plane(kPlanesIQ3_XXS.at + 256));
    const I lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const I word = _mm512_permutexvar_epi32(lanes, _mm512_castsi256_si512(load32(b->signs)));
    const I signs = even_signs<0>(multishift(kSevens, word));
    const F d = set(half(b->d));
    const F scale = fma(to_float(_mm512_srli_epi32(word, 28)), d * set(0.5f), d * set(0.25f));
    return {{column3<0, 0>(kWeights, codes.first, signs), column3<1, 8>(kWeights, codes.first, signs),
             column3<2, 16>(kWeights, codes.second, signs), column3<3, 24>(kWeights, codes.second, signs)},
            {{scale}},
            {scale * set(kRaiseIQ3_XXS)}};
  }
};

struct FormatIQ3_S {
  using Block = BlockIQ3_S;
  static constexpr int kScales = 1, kMost = 2 * kRaiseIQ3_S;

  KTD_WORD Unpacked<1> unpack(const Block* b) {
    static constexpr Pattern kWeights =
        pattern([](int i) { return kRaiseIQ3_S + (i % 16 < 8 ? 1 : -1) * (2 * (i % 8) + 1); });
    const I index = load_bytes(b->qs);
    const __mmask64 upper = _mm512_movepi8_mask(index);
    const __mmask64 ninth = _cvtu64_mask64(quadword_at(b->qh));
    const auto quarter = [&](const uint8_t* p) KTD_INLINE {
      return _mm512_mask_mov_epi8(look_up_bytes(p, index), upper, look_up_bytes(p + 128, index));
    };
    const auto plane = [&](const uint8_t* p)
                           KTD_INLINE { return _mm512_mask_mov_epi8(quarter(p), ninth, quarter(p + 256)); };
    const Codes3 codes = pair_up(plane(kPlanesIQ3_S.at), plane(kPlanesIQ3_S.at + 512));
    const I signs = _mm512_cvtepu32_epi64(load32(b->signs));
    const F d = set(half(b->d));
    const F scale = fma(to_float(nibbles_of(word_at(b->scales))), d + d, d);
    return {{column3<0, 0>(kWeights, codes.first, signs), column3<1, 8>(kWeights, codes.first, signs),
             column3<2, 16>(kWeights, codes.second, signs), column3<3, 24>(kWeights, codes.second, signs)},
            {{scale}},
            {scale * set(kRaiseIQ3_S)}};
  }
};

// Ternary weights moved by an eighth of their scale: the points hold eighths.
struct FormatIQ1_S : FromIndex<BlockIQ1_S> {
  static constexpr int kScales = 1, kMost = 16;

  // The word of each block of 32, in both of its lanes.
  KTD_WORD I heads(const Block* b) {
    static constexpr Pattern kTwice = pattern([](int i) { return i % 4 < 2 ? i / 8 * 2 + i % 4 : 0x80; });
    return shuffle(_mm512_broadcast_i32x4(load16(b->qh)), kTwice);
  }
  KTD_WORD void open(const Block* b, Ready& ready) {
    static constexpr Pattern kHigh = pattern([](int i) { return i % 8 / 2 * 3; });
    ready.block = b;
    spill(ready.index, choose(_mm512_set1_epi16(0x0700), multishift(kHigh, heads(b)), words(b->qs)));
  }
  KTD_WORD Unpacked<1> unpack(const Ready& ready) {
    const I head = heads(ready.block);
    const I even = _mm512_and_si512(_mm512_srli_epi32(head, 11), _mm512_set1_epi32(14));
    const F eighth = set(half(ready.block->d) * 0.125f), scale = fma(to_float(even), eighth, eighth);
    const __mmask16 down = _mm512_test_epi32_mask(head, _mm512_set1_epi32(0x8000));
    return {{points<0>(kPointsIQ1.at, ready.index), points<1>(kPointsIQ1.at, ready.index),
             points<2>(kPointsIQ1.at, ready.index), points<3>(kPointsIQ1.at, ready.index)},
            {{scale}},
            {scale * _mm512_mask_mov_ps(set(7), down, set(9))}};
  }
};

struct FormatIQ1_M : FromIndex<BlockIQ1_M> {
  static constexpr int kScales = 2, kMost = 18;

  // Two fours of bits, each a group's three and the sign of its shift, in every doubleword.
  KTD_WORD I fours(const Block* b) { return _mm512_cvtepu8_epi32(load16(b->qh)); }
  KTD_WORD void open(const Block* b, Ready& ready) {
    static constexpr Pattern kHigh = pattern([](int i) { return i % 8 / 4 * 32 + i % 4 / 2 * 4; });
    ready.block = b;
    const I index = choose(_mm512_set1_epi16(0x0700), multishift(kHigh, fours(b)), words(b->qs));
    spill(ready.index, index);
  }
  // Points that move up are 2 higher than those that move down.
  template <int C>
  KTD_WORD Bytes column(const uint16_t* index, I fours) {
    const I down = points<C>(kPointsIQ1.at, index);
    const __mmask8 up = _mm512_testn_epi64_mask(fours, _mm512_set1_epi64(8ll << (C % 2 * 4 + C / 2 * 32)));
    return _mm512_mask_add_epi64(down, up, down, _mm512_set1_epi8(2));
  }
  // The half whose nibbles are on top of four words.
  KTD_WORD float d(uint64_t scales) {
    return half(static_cast<uint16_t>((scales >> 12 & 15) | (scales >> 24 & 0xf0) | (scales >> 36 & 0xf00) |
                                      (scales >> 48 & 0xf000)));
  }
  KTD_WORD F scale(uint64_t scales) {
    static constexpr Pattern kFourTimes =
        pattern([](int i) { return i % 4 < 2 ? i / 16 * 2 + i % 4 : 0x80; });
    const I shifts = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 3, 6, 9));
    const I word = shuffle(_mm512_set1_epi64(static_cast<long long>(scales)), kFourTimes);
    const I threes = _mm512_and_si512(_mm512_srlv_epi32(word, shifts), _mm512_set1_epi32(7));
    const F eighth = set(d(scales) * 0.125f);
    return fma(to_float(threes), eighth + eighth, eighth);
  }
  KTD_WORD Unpacked<2> unpack(const Ready& ready) {
    const I signs = fours(ready.block);
    const F by = scale(quadword_at(ready.block->scales));
    return {{column<0>(ready.index, signs), column<1>(ready.index, signs), column<2>(ready.index, signs),
             column<3>(ready.index, signs)},
            {{_mm512_moveldup_ps(by)}, {_mm512_movehdup_ps(by)}},
            {by * set(9)}};
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
