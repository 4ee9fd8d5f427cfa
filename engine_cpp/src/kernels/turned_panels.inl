// Panels of the formats of turned.inl: their columns stand where the panel wants them after the same turn
// that brings rows side by side.

namespace ktd::KTD_ISA {
namespace {

// 256 weights of 16 rows, of which the file holds `count`; zeros behind.
template <class Format>
struct OpenedRows {
  using Block = typename Format::Block;
  static constexpr int kBlocks = kTurned / Block::kWeights;
  Block last[kPanelRows][kBlocks];
  Opened<Format> row[kPanelRows];

  void open(const std::byte* from, size_t row_bytes, int64_t count) {
    for (int r = 0; r < kPanelRows; ++r, from += row_bytes) {
      const auto* b = reinterpret_cast<const Block*>(from);
      if (kBlocks > 1 && count < kTurned) {
        __builtin_memset(last[r], 0, sizeof last[r]);
        __builtin_memcpy(last[r], from, static_cast<size_t>(count / Block::kWeights) * sizeof(Block));
        b = last[r];
      }
      Opened<Format>::open(row[r], b);
    }
  }
};

KTD_WORD void store_numbers(PanelChunk<32>& chunk, int r, const Unpacked<1>& w) {
  store(chunk.numbers[0][r], interleave(w.scale[0].part[0], w.minimum.part[0]));
}
KTD_WORD void store_numbers(PanelChunk<16>& chunk, int r, const Unpacked<2>& w) {
  store(chunk.numbers[0][r], interleave(w.scale[0].part[0], w.scale[1].part[0]));
  store(chunk.numbers[1][r], w.minimum.part[0]);
}

// Weights [begin, begin + n) of 16 rows.
template <class Format>
void pack_turned(const std::byte* from, size_t row_bytes, int64_t begin, int64_t n,
                 Panel<32 / Format::kScales>& panel) {
  using Block = typename Format::Block;
  PanelChunk<32 / Format::kScales> chunk;
  OpenedRows<Format> rows;
  for (int64_t at = 0; at < n; at += kTurned) {
    const int64_t count = n - at < kTurned ? n - at : kTurned;
    const std::byte* block = from + static_cast<size_t>((begin + at) / Block::kWeights) * sizeof(Block);
    rows.open(block, row_bytes, count);
    for (int r = 0; r < kPanelRows; ++r) {
      const auto w = Opened<Format>::unpack(rows.row[r]);
      unroll<kColumns>([&](auto c) KTD_INLINE { store_bytes(chunk.columns[c.value][r], w.bytes[c.value]); });
      store_numbers(chunk, r, w);
    }
    turn_chunk(chunk, at, count, panel);
  }
}

}  // namespace
}  // namespace ktd::KTD_ISA
