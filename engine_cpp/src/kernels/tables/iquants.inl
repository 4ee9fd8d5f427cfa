// IQ1, IQ2 and IQ3 for CPUs without byte permutes: points of 8 or 4 bytes are loaded one by one from tables
// in memory. Indices and signs are prepared for 256 weights at once, in 256 bits on either ISA.

namespace ktd::KTD_ISA {
namespace {

KTD_WORD __m256i load256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
template <int N>
KTD_WORD void spill(uint16_t (&to)[N], int at, __m256i x) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(to + at), x);
}
template <int N>
KTD_WORD void keep_in_memory(uint16_t (&index)[N]) {
  __asm__("" : "+m"(index));  // or the compiler picks the indices out of the vector, a shuffle each
}

// Seven sign bits in each byte, to which an eighth makes their number even.
KTD_WORD __m256i even_signs(__m256i sevens) {
  const __m256i parity = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m256i folded = _mm256_xor_si256(sevens, _mm256_srli_epi16(sevens, 4));
  const __m256i eighth = _mm256_shuffle_epi8(parity, _mm256_and_si256(folded, _mm256_set1_epi8(15)));
  return _mm256_or_si256(sevens, eighth);
}
// Four times seven sign bits in each doubleword, to bytes.
KTD_WORD __m256i even_signs_of_words(__m256i words) {
  const auto part = [&](int place) KTD_INLINE {
    return _mm256_and_si256(_mm256_slli_epi32(words, place), _mm256_set1_epi32(0x7f << (8 * place)));
  };
  return even_signs(_mm256_or_si256(_mm256_or_si256(part(0), part(1)), _mm256_or_si256(part(2), part(3))));
}

// An eighth of d times 1, 3, 5, ... 31: the scales of IQ2.
KTD_WORD Sixteen odd_scales(Numbers scales, float d) {
  const Numbers odd = _mm_or_si128(_mm_add_epi8(scales, scales), _mm_set1_epi8(1));
  return unsigned_floats(odd) * (d * 0.125f);
}
// The nibbles of eight bytes, low ones first.
KTD_WORD Numbers nibbles_of(const uint8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm_unpacklo_epi8(low_four(bytes), high_four(bytes));
}

template <class B>
struct FromSigns {
  using Block = B;
  struct Ready {
    const B* block;
    alignas(32) uint8_t signs[32];
  };
};

struct FormatIQ2_XXS : FromSigns<BlockIQ2_XXS> {
  static constexpr int kScales = 1, kMost = 2 * kRaiseIQ2;

  KTD_WORD __m256i words(const Block* b) {
    const __m256 low = _mm256_castsi256_ps(load256(b->groups)),
                 high = _mm256_castsi256_ps(load256(b->groups + 4));
    const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
    return _mm256_permute4x64_epi64(odd, 0xd8);
  }
  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    _mm256_store_si256(reinterpret_cast<__m256i*>(ready.signs), even_signs_of_words(words(b)));
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    const auto point = [&](int g)
                           KTD_INLINE { return kPointsIQ2_XXS.at + r.block->groups[g / 4].index[g % 4]; };
    return with_signs<C, H>(points<C, H>(point), kRaiseIQ2, r.signs);
  }
  KTD_WORD Unpacked<1> unpack(const Ready& r) {
    const __m256 scale = _mm256_cvtepi32_ps(_mm256_srli_epi32(words(r.block), 28)) + _mm256_set1_ps(0.5f);
    const Sixteen scales = twice(scale * _mm256_set1_ps(half(r.block->d) * 0.25f));
    return with_columns<FormatIQ2_XXS>(r, {{}, {scales}, scales * kRaiseIQ2});
  }
};

struct FormatIQ2_XS : FromSigns<BlockIQ2_XS> {
  static constexpr int kScales = 2, kMost = 2 * kRaiseIQ2;

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    const __m256i low = _mm256_srli_epi16(load256(b->qs), 9),
                  high = _mm256_srli_epi16(load256(b->qs + 16), 9);
    const __m256i sevens = _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xd8);
    _mm256_store_si256(reinterpret_cast<__m256i*>(ready.signs), even_signs(sevens));
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    const auto point = [&](int g) KTD_INLINE { return kPointsIQ2_XS.at + (r.block->qs[g] & 511); };
    return with_signs<C, H>(points<C, H>(point), kRaiseIQ2, r.signs);
  }
  KTD_WORD Unpacked<2> unpack(const Ready& r) {
    const Sixteen s = odd_scales(nibbles_of(r.block->scales), half(r.block->d));
    return with_columns<FormatIQ2_XS>(r, {{}, {firsts(s), seconds(s)}, s * kRaiseIQ2});
  }
};

// Sixteen words: four bytes, four times each.
KTD_WORD __m256i four_times(const void* p) {
  const __m256i all = _mm256_set1_epi32(static_cast<int>(word_at(p)));
  return _mm256_shuffle_epi8(all, _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1, 2,
                                                   -1, 2, -1, 2, -1, 2, -1, 3, -1, 3, -1, 3, -1, 3, -1));
}

struct FormatIQ2_S : FromIndex<BlockIQ2_S> {
  static constexpr int kScales = 2, kMost = 2 * kRaiseIQ2;

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    const __m256i places = _mm256_set1_epi64x(0x0004001000400100);  // two bits to bits 8 and 9
    for (int h = 0; h < 2; ++h) {
      const __m256i high = _mm256_mullo_epi16(four_times(b->qh + 4 * h), places);
      const __m256i low = _mm256_cvtepu8_epi16(load16(b->qs + 16 * h));
      spill(ready.index, 16 * h, _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi16(0x0300))));
    }
    keep_in_memory(ready.index);
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    const auto point = [&](int g) KTD_INLINE { return kPointsIQ2_S.at + r.index[g]; };
    return with_signs<C, H>(points<C, H>(point), kRaiseIQ2, r.block->signs);
  }
  KTD_WORD Unpacked<2> unpack(const Ready& r) {
    const Sixteen s = odd_scales(nibbles_of(r.block->scales), half(r.block->d));
    return with_columns<FormatIQ2_S>(r, {{}, {firsts(s), seconds(s)}, s * kRaiseIQ2});
  }
};

struct FormatIQ3_XXS : FromSigns<BlockIQ3_XXS> {
  static constexpr int kScales = 1, kMost = 2 * kRaiseIQ3_XXS;

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    _mm256_store_si256(reinterpret_cast<__m256i*>(ready.signs), even_signs_of_words(load256(b->signs)));
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    const auto first = [&](int g) KTD_INLINE { return kPointsIQ3_XXS.at + r.block->qs[2 * g]; };
    const auto second = [&](int g) KTD_INLINE { return kPointsIQ3_XXS.at + r.block->qs[2 * g + 1]; };
    return with_signs<C, H>(half_points<C, H>(first, second), kRaiseIQ3_XXS, r.signs);
  }
  KTD_WORD Unpacked<1> unpack(const Ready& r) {
    const __m256 scale =
        _mm256_cvtepi32_ps(_mm256_srli_epi32(load256(r.block->signs), 28)) + _mm256_set1_ps(0.5f);
    const Sixteen scales = twice(scale * _mm256_set1_ps(half(r.block->d) * 0.5f));
    return with_columns<FormatIQ3_XXS>(r, {{}, {scales}, scales * kRaiseIQ3_XXS});
  }
};

struct FormatIQ3_S {
  using Block = BlockIQ3_S;
  static constexpr int kScales = 1, kMost = 2 * kRaiseIQ3_S;
  struct Ready {
    const Block* block;
    alignas(32) uint16_t index[64];
  };

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    const __m256i each =
        _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
    for (int h = 0; h < 4; ++h) {
      uint16_t ninth;
      __builtin_memcpy(&ninth, b->qh + 2 * h, 2);
      const __m256i bits = _mm256_and_si256(_mm256_set1_epi16(static_cast<short>(ninth)), each);
      const __m256i high = _mm256_and_si256(_mm256_cmpeq_epi16(bits, each), _mm256_set1_epi16(256));
      spill(ready.index, 16 * h, _mm256_or_si256(_mm256_cvtepu8_epi16(load16(b->qs + 16 * h)), high));
    }
    keep_in_memory(ready.index);
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    const auto first = [&](int g) KTD_INLINE { return kPointsIQ3_S.at + r.index[2 * g]; };
    const auto second = [&](int g) KTD_INLINE { return kPointsIQ3_S.at + r.index[2 * g + 1]; };
    return with_signs<C, H>(half_points<C, H>(first, second), kRaiseIQ3_S, r.block->signs);
  }
  KTD_WORD Unpacked<1> unpack(const Ready& r) {
    const __m256i nibbles = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(word_at(r.block->scales))),
                                              _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256 scale = _mm256_cvtepi32_ps(_mm256_and_si256(nibbles, _mm256_set1_epi32(15)));
    const __m256 d = _mm256_set1_ps(half(r.block->d));
    const Sixteen scales = twice(scale * (d + d) + d);
    return with_columns<FormatIQ3_S>(r, {{}, {scales}, scales * kRaiseIQ3_S});
  }
};

struct FormatIQ1_S : FromIndex<BlockIQ1_S> {
  static constexpr int kScales = 1, kMost = 16;

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    const __m256i places =
        _mm256_set1_epi64x(0x0040020010008000ll);  // 2^15 and down by 3: to the right, less one
    for (int h = 0; h < 2; ++h) {
      const __m256i four = _mm256_set1_epi64x(static_cast<long long>(quadword_at(b->qh + 4 * h)));
      const __m256i each =
          _mm256_shuffle_epi8(four, _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4, 5, 4,
                                                     5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7));
      const __m256i moved = _mm256_mulhi_epu16(_mm256_add_epi16(each, each), places);
      const __m256i high = _mm256_slli_epi16(_mm256_and_si256(moved, _mm256_set1_epi16(7)), 8);
      spill(ready.index, 16 * h, _mm256_or_si256(_mm256_cvtepu8_epi16(load16(b->qs + 16 * h)), high));
    }
    keep_in_memory(ready.index);
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    return points<C, H>([&](int g) KTD_INLINE { return kPointsIQ1.at + r.index[g]; });
  }
  KTD_WORD Unpacked<1> unpack(const Ready& r) {
    const __m256i head = _mm256_cvtepu16_epi32(load16(r.block->qh));
    const __m256i even = _mm256_and_si256(_mm256_srli_epi32(head, 11), _mm256_set1_epi32(14));
    const __m256 eighth = _mm256_set1_ps(half(r.block->d) * 0.125f);
    const __m256 scale = _mm256_cvtepi32_ps(even) * eighth + eighth;
    const __m256i shift = _mm256_add_epi32(_mm256_srli_epi32(head, 15), _mm256_srli_epi32(head, 15));
    const __m256 minimum = scale * _mm256_cvtepi32_ps(_mm256_add_epi32(shift, _mm256_set1_epi32(7)));
    return with_columns<FormatIQ1_S>(r, {{}, {twice(scale)}, twice(minimum)});
  }
};

struct FormatIQ1_M {
  using Block = BlockIQ1_M;
  static constexpr int kScales = 2, kMost = 18;
  struct Ready {
    const Block* block;
    alignas(32) uint16_t index[32];
    alignas(32) uint8_t up[32];  // 2 for groups that move up, which their points then stand above the others
  };

  KTD_WORD void open(const Block* b, Ready& ready) {
    ready.block = b;
    const __m128i bytes = load16(b->qh), low = low_four(bytes), high = high_four(bytes);
    const __m256i fours = _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
    const __m256i down = _mm256_and_si256(_mm256_srli_epi16(fours, 2), _mm256_set1_epi8(2));
    _mm256_store_si256(reinterpret_cast<__m256i*>(ready.up), _mm256_xor_si256(down, _mm256_set1_epi8(2)));
    const __m256i three = _mm256_and_si256(fours, _mm256_set1_epi8(7));
    const auto index = [&](__m128i top, const uint8_t* qs) KTD_INLINE {
      return _mm256_or_si256(_mm256_slli_epi16(_mm256_cvtepu8_epi16(top), 8),
                             _mm256_cvtepu8_epi16(load16(qs)));
    };
    spill(ready.index, 0, index(_mm256_castsi256_si128(three), b->qs));
    spill(ready.index, 16, index(_mm256_extracti128_si256(three, 1), b->qs + 16));
    keep_in_memory(ready.index);
  }
  template <int C, int H>
  KTD_WORD Bytes column(const Ready& r) {
    const Bytes down = points<C, H>([&](int g) KTD_INLINE { return kPointsIQ1.at + r.index[g]; });
    return add_bytes(down, spread<C, H>(r.up));
  }
  // Four 3-bit numbers of each word, to bytes.
  KTD_WORD Numbers threes(uint64_t scales) {
    const __m128i word = _mm_cvtepu16_epi32(_mm_cvtsi64_si128(static_cast<long long>(scales)));
    const auto part = [&](int i) KTD_INLINE {
      return _mm_and_si128(_mm_slli_epi32(word, 5 * i), _mm_set1_epi32(7 << (8 * i)));
    };
    return _mm_or_si128(_mm_or_si128(part(0), part(1)), _mm_or_si128(part(2), part(3)));
  }
  // The half whose nibbles are on top of four words.
  KTD_WORD float d(uint64_t scales) {
    return half(static_cast<uint16_t>((scales >> 12 & 15) | (scales >> 24 & 0xf0) | (scales >> 36 & 0xf00) |
                                      (scales >> 48 & 0xf000)));
  }
  KTD_WORD Unpacked<2> unpack(const Ready& r) {
    const uint64_t scales = quadword_at(r.block->scales);
    const Sixteen s = odd_scales(threes(scales), d(scales));
    return with_columns<FormatIQ1_M>(r, {{}, {firsts(s), seconds(s)}, s * 9});
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
