// Weights of one or two bits and a single scale: Q1_0, Q2_0, TQ1_0, TQ2_0.

namespace ktd::KTD_ISA {
namespace {

// The first N bytes at p, for blocks that may end with their page.
template <int N>
KTD_WORD I load_first(const void* p) {
  return _mm512_maskz_loadu_epi8((1ull << N) - 1, p);
}

// The bytes of x that `from` names.
KTD_WORD I place(I x, const Pattern& from) {
  return _mm512_permutexvar_epi8(load(from), x);
}

struct FormatQ1_0 {
  using Block = BlockQ1_0;
  static constexpr int kScales = 1, kMost = 1;

  template <int C>
  KTD_WORD Bytes column(I bits) {
    static constexpr Pattern kBits = pattern([](int i) { return 8 * C + i % 8; });
    return _mm512_and_si512(multishift(kBits, bits), _mm512_set1_epi8(1));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    static constexpr Pattern kBits = pattern([](int i) { return i / 32 * 18 + 2 + i / 8 % 4 * 4 + i % 4; });
    static constexpr Pattern kScale = pattern([](int i) { return i / 16 % 2 * 18 + i % 2; });
    const I both = load_first<2 * sizeof(Block)>(b), bits = place(both, kBits);
    const F d = _mm512_cvtph_ps(_mm512_castsi512_si256(place(both, kScale)));
    return {{column<0>(bits), column<1>(bits), column<2>(bits), column<3>(bits)}, {{d + d}}, {d}};
  }
};

struct FormatQ2_0 {
  using Block = BlockQ2_0;
  static constexpr int kScales = 1, kMost = 3;

  template <int C>
  KTD_WORD Bytes column(I codes) {
    static constexpr Pattern kCodes = pattern([](int i) { return 16 * C + 2 * (i % 8); });
    return _mm512_and_si512(multishift(kCodes, codes), _mm512_set1_epi8(3));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    // Four blocks are 72 bytes; the last is read from 8 bytes on.
    static constexpr Pattern kCodes =
        pattern([](int i) { return 18 * (i / 16) + 2 + i % 16 + (i < 48 ? 0 : 64 - 8); });
    static constexpr Pattern kScale = pattern([](int i) { return 18 * (i / 8 % 4) + i % 2; });
    const auto* p = reinterpret_cast<const std::byte*>(b);
    const I codes = gather_bytes(kCodes, p, p + 8);
    const F d = _mm512_cvtph_ps(_mm512_castsi512_si256(place(load_bytes(p), kScale)));
    return {{column<0>(codes), column<1>(codes), column<2>(codes), column<3>(codes)}, {{d}}, {d}};
  }
};

struct FormatTQ2_0 {
  using Block = BlockTQ2_0;
  static constexpr int kScales = 1, kMost = 3;

  template <int C>
  KTD_WORD Bytes column(I packed) {
    const I groups =
        _mm512_permutexvar_epi64(_mm512_setr_epi64(C, C, C, C, C + 4, C + 4, C + 4, C + 4), packed);
    return _mm512_and_si512(_mm512_srlv_epi64(groups, _mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6)),
                            _mm512_set1_epi8(3));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const I packed = load_bytes(b->qs);
    const F d = set(half(b->d));
    return {{column<0>(packed), column<1>(packed), column<2>(packed), column<3>(packed)}, {{d}}, {d}};
  }
};

// The base-3 digits of every byte (see ref/ternary.cpp), two bits each: the first four, and the fifth.
struct Digits {
  alignas(64) uint8_t four[256], fifth[256];
};
constexpr Digits kDigits = [] {
  Digits digits{};
  for (int byte = 0; byte < 256; ++byte)
    for (int place = 0, rest = byte; place < 5; ++place, rest = rest * 3 & 255) {
      const int digit = rest * 3 >> 8;
      if (place < 4)
        digits.four[byte] = static_cast<uint8_t>(digits.four[byte] | digit << (2 * place));
      else
        digits.fifth[byte] = static_cast<uint8_t>(digit);
    }
  return digits;
}();

// Where byte i of column c of TQ1_0 comes from: five planes of 32 bytes, five of 16, four of 4.
struct Digit {
  int byte, place;
};
constexpr Digit digit_of(int c, int i) {
  const int weight = i / 8 * 32 + c * 8 + i % 8;
  if (weight < 160) return {weight % 32, weight / 32};
  if (weight < 240) return {32 + weight % 16, (weight - 160) / 16};
  return {48 + weight % 4, (weight - 240) / 4};
}

struct FormatTQ1_0 {
  using Block = BlockTQ1_0;
  static constexpr int kScales = 1, kMost = 3;

  KTD_WORD I digits(const uint8_t* table, I bytes) {
    return _mm512_mask_mov_epi8(look_up_bytes(table, bytes), _mm512_movepi8_mask(bytes),
                                look_up_bytes(table + 128, bytes));
  }
  template <int C>
  KTD_WORD Bytes column(I four, I fifth) {
    static constexpr Pattern kBytes =
        pattern([](int i) { return digit_of(C, i).byte + (digit_of(C, i).place == 4 ? 64 : 0); });
    static constexpr Pattern kShifts =
        pattern([](int i) { return i % 4 == 0 ? digit_of(C, i).place % 4 * 2 : 0; });
    const I placed = _mm512_permutex2var_epi8(four, load(kBytes), fifth);
    return _mm512_and_si512(_mm512_srlv_epi32(placed, load(kShifts)), _mm512_set1_epi8(3));
  }
  KTD_WORD Unpacked<1> unpack(const Block* b) {
    const I bytes = load_first<52>(b), four = digits(kDigits.four, bytes),
            fifth = digits(kDigits.fifth, bytes);
    const F d = set(half(b->d));
    return {{column<0>(four, fifth), column<1>(four, fifth), column<2>(four, fifth), column<3>(four, fifth)},
            {{d}},
            {d}};
  }
};

}  // namespace
}  // namespace ktd::KTD_ISA
