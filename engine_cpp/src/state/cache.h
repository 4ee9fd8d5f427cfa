// The KV cache: pages of rows, one set for every attention stage. A row is whatever the stage stores per
// token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "quant/type.h"

namespace ktd {

inline constexpr int64_t kMaxPageTokens = 256;

class KvCache {
 public:
  // widths: values per row, one entry per attention stage. Memory is touched only as pages are used.
  KvCache(const std::vector<int64_t>& widths, int64_t pages, int64_t page_tokens, TensorType type);

  // Gives every page memory, with numbers that mean nothing: for measurements.
  void fill();

  // The rows of a page lie together, `row_bytes(layer)` apart.
  std::byte* page(size_t layer, int64_t page) const {
    return layers_[layer].base + page * layers_[layer].page_bytes;
  }
  size_t row_bytes(size_t layer) const { return layers_[layer].row_bytes; }

  size_t layers() const { return layers_.size(); }
  int64_t pages() const { return pages_; }
  int64_t page_tokens() const { return page_tokens_; }
  TensorType type() const { return type_; }
  size_t bytes() const { return memory_.bytes(); }

 private:
  struct Layer {
    std::byte* base;
    size_t row_bytes;
    size_t page_bytes;
  };
  const int64_t pages_;
  const int64_t page_tokens_;
  const TensorType type_;
  Memory memory_;
  std::vector<Layer> layers_;
};

}  // namespace ktd
