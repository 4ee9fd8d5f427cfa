// The numbers that a KV cache keeps, and where a token's row is in its pages.
#pragma once

#include "simt.cuh"

namespace ktd {

struct CellBF16 {
  using Word = uint16_t;
  DEVICE static Word of(float value) { return float_to_bf16(value); }
  // Eight neighbours, aligned to as many, as bf16.
  DEVICE static uint4 eight(const Word* from) { return __ldg(reinterpret_cast<const uint4*>(from)); }
};

struct CellF16 {
  using Word = uint16_t;
  DEVICE static Word of(float value) { return float_to_half(value); }
  DEVICE static uint32_t two(uint32_t pair) {
    return bf16_pair(half_to_float(static_cast<uint16_t>(pair)),
                     half_to_float(static_cast<uint16_t>(pair >> 16)));
  }
  DEVICE static uint4 eight(const Word* from) {
    const uint4 halves = __ldg(reinterpret_cast<const uint4*>(from));
    return {two(halves.x), two(halves.y), two(halves.z), two(halves.w)};
  }
};

struct CellF32 {
  using Word = float;
  DEVICE static Word of(float value) { return value; }
  DEVICE static uint4 eight(const Word* from) {
    const float4 a = __ldg(reinterpret_cast<const float4*>(from)),
                 b = __ldg(reinterpret_cast<const float4*>(from) + 1);
    return {bf16_pair(a.x, a.y), bf16_pair(a.z, a.w), bf16_pair(b.x, b.y), bf16_pair(b.z, b.w)};
  }
};

// Position p of sequence s is in page pages[s * columns + p / page_tokens], place p % page_tokens.
struct Pages {
  const int32_t* pages;
  int columns;
  int page_tokens;

  DEVICE int64_t slot(int sequence, int position) const {
    const int page = pages[static_cast<int64_t>(sequence) * columns + position / page_tokens];
    return static_cast<int64_t>(page) * page_tokens + position % page_tokens;
  }
};

}  // namespace ktd
