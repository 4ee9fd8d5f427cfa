#include "state/cache.h"

#include <cstring>
#include <string>

#include "base/error.h"

namespace ktd {
namespace {

constexpr size_t kLine = 64;

size_t row_bytes_of(int64_t width, TensorType type) {
  const TypeTraits& traits = *find_traits(static_cast<uint32_t>(type));
  const size_t bytes = traits.row_bytes((width + traits.block - 1) / traits.block * traits.block);
  return (bytes + kLine - 1) / kLine * kLine;
}

size_t total_bytes(const std::vector<int64_t>& widths, int64_t rows, TensorType type) {
  size_t total = 0;
  for (int64_t width : widths) total += row_bytes_of(width, type) * rows;
  return total;
}

int64_t within(int64_t value, int64_t most, const char* what) {
  if (value < 1 || value > most)
    throw EngineError(std::string("the cache takes 1 to ") + std::to_string(most) + " " + what + ", not " +
                      std::to_string(value));
  return value;
}

}  // namespace

KvCache::KvCache(const std::vector<int64_t>& widths, int64_t pages, int64_t page_tokens, TensorType type)
    : pages_(within(pages, INT32_MAX, "pages")),
      page_tokens_(within(page_tokens, kMaxPageTokens, "tokens in a page")),
      type_(type),
      memory_(total_bytes(widths, pages * page_tokens, type), "the KV cache") {
  std::byte* base = memory_.data();
  for (int64_t width : widths) {
    const size_t row = row_bytes_of(width, type), page = row * page_tokens;
    layers_.push_back({base, row, page});
    base += page * pages;
  }
}

void KvCache::fill() {
  constexpr int kSmall = 0x2c;  // 0x2c2c is 0.065 as a half, and small in every type
  std::memset(memory_.data(), kSmall, memory_.bytes());
}

}  // namespace ktd
