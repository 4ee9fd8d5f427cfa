// Panels of the formats of turned.inl: their columns stand where the panel wants them after the same turn
// that brings rows side by side.

namespace ktd::KTD_ISA {
namespace {

template <class Fmt>
struct PackTurned {
  using Format = Fmt;
  static constexpr int kGroup = Format::kScales == 1 ? 32 : 16;
};

// 256 weights of a row, of which the file holds `count`; zeros behind.
template <class Format>
[[gnu::always_inline]] inline auto unpack_some(const std::byte* at, int64_t count) {
  using Block = typename Format::Block;
  if (Block::kWeights == kTurned || count == kTurned)
    return Format::unpack(reinterpret_cast<const Block*>(at));
  Block blocks[kTurned / Block::kWeights] = {};
  __builtin_memcpy(blocks, at, static_cast<size_t>(count / Block::kWeights) * sizeof(Block));
  return Format::unpack(blocks);
}

// Scales and minima of a row: those of a block of 32 in a pair of lanes, or all scales and then all minima.
[[gnu::always_inline]] inline void store_numbers(float (&to)[1][kPanelRows][kPanelRows], int r,
                                                 const Unpacked<1>& w) {
  store(to[0][r], interleave(w.scale[0][0], w.minimum[0]));
}
[[gnu::always_inline]] inline void store_numbers(float (&to)[2][kPanelRows][kPanelRows], int r,
                                                 const Unpacked<2>& w) {
  store(to[0][r], interleave(w.scale[0][0], w.scale[1][0]));
  store(to[1][r], w.minimum[0]);
}
inline void turn_floats(const float (&from)[kPanelRows][kPanelRows], float (&to)[kPanelRows][kPanelRows]) {
  turn(reinterpret_cast<const uint8_t*>(from), sizeof from[0], reinterpret_cast<uint8_t (*)[64]>(to));
}
inline void turn_numbers(const float (&from)[1][kPanelRows][kPanelRows], int64_t count,
                         float (*scale)[kPanelRows], float (*minimum)[kPanelRows]) {
  alignas(64) float turned[kPanelRows][kPanelRows];
  turn_floats(from[0], turned);
  for (int64_t j = 0; j < count / 32; ++j) {
    store(scale[j], load(turned[2 * j]));
    store(minimum[j], load(turned[2 * j + 1]));
  }
}
inline void turn_numbers(const float (&from)[2][kPanelRows][kPanelRows], int64_t count,
                         float (*scale)[kPanelRows], float (*minimum)[kPanelRows]) {
  alignas(64) float turned[2][kPanelRows][kPanelRows];
  turn_floats(from[0], turned[0]);
  turn_floats(from[1], turned[1]);
  for (int64_t j = 0; j < count / 16; ++j) {
    store(scale[j], load(turned[0][j]));
    store(minimum[j], load(turned[1][j]));
  }
}

// Weights [begin, begin + n) of 16 rows.
template <class Packer>
void pack_turned(const std::byte* rows, size_t row_bytes, int64_t begin, int64_t n,
                 Panel<Packer::kGroup>& panel) {
  using Format = typename Packer::Format;
  using Block = typename Format::Block;
  alignas(64) uint8_t bytes[kColumns][kPanelRows][64];
  alignas(64) float numbers[Format::kScales][kPanelRows][kPanelRows];
  alignas(64) uint8_t turned[kPanelRows][64];
  for (int64_t at = 0; at < n; at += kTurned) {
    const int64_t count = n - at < kTurned ? n - at : kTurned;
    const std::byte* block = rows + static_cast<size_t>((begin + at) / Block::kWeights) * sizeof(Block);
    for (int r = 0; r < kPanelRows; ++r, block += row_bytes) {
      const auto w = unpack_some<Format>(block, count);
      unroll<kColumns>([&](auto c) KTD_INLINE { store_bytes(bytes[c.value][r], w.bytes[c.value]); });
      store_numbers(numbers, r, w);
    }
    for (int c = 0; c < kColumns; ++c) {
      turn(bytes[c][0], 64, turned);
      for (int i = 0; i < count / 16; ++i)  // block j: eight weights, from 32 j + 8 c on
        store_bytes(panel.bytes[at / 4 + i / 2 * 8 + 2 * c + i % 2], load_bytes(turned[i]));
    }
    turn_numbers(numbers, count, panel.scale + at / Packer::kGroup, panel.minimum + at / Packer::kGroup);
  }
}

}  // namespace
}  // namespace ktd::KTD_ISA
