// The vector words in plain C++ over the compiler's generic vectors: 8 floats, 32 bytes. It builds anywhere;
// simd.h says what each word means.
#pragma once

#include <cmath>

#include "base/half.h"

namespace ktd::scalar {
namespace {

using F [[gnu::vector_size(32)]] = float;
using I [[gnu::vector_size(32)]] = int32_t;
using Eight = F;

struct Bytes {
  uint8_t at[32];
};

constexpr int kF = 8;
constexpr int kFloatSums = 4;
constexpr int kIntegerSums = 4;
constexpr int kTokenTile = 4;

KTD_WORD F set(float x) {
  return F{} + x;
}
KTD_WORD F load(const float* p) {
  F x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
KTD_WORD void store(float* p, F x) {
  __builtin_memcpy(p, &x, sizeof x);
}
KTD_WORD F fma(F a, F b, F c) {
  return a * b + c;
}
KTD_WORD F fnma(F a, F b, F c) {
  return c - a * b;
}
KTD_WORD F max(F a, F b) {
  return a > b ? a : b;
}
KTD_WORD F min(F a, F b) {
  return a < b ? a : b;
}
KTD_WORD F abs(F x) {
  return reinterpret_cast<F>(reinterpret_cast<I>(x) & 0x7fffffff);
}
KTD_WORD float sum(F x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}
KTD_WORD float max_of(F x) {
  float top = x[0];
  for (int i = 1; i < kF; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

// To nearest even by the float unit: adding 1.5 * 2^23 leaves the integer in the low bits. Larger values, and
// NaN, give some integer.
KTD_WORD I round(F x) {
  constexpr float kMagic = 0x1.8p23f;
  return reinterpret_cast<I>(x + kMagic) - 0x4b400000;
}
KTD_WORD F to_float(I x) {
  return __builtin_convertvector(x, F);
}
KTD_WORD F pow2(I n) {
  return reinterpret_cast<F>((n + 127) << 23);
}
KTD_WORD I half_of(I n) {
  return n >> 1;
}
KTD_WORD I minus(I a, I b) {
  return a - b;
}
KTD_WORD int sum(I x) {
  int total = 0;
  for (int i = 0; i < kF; ++i) total += x[i];
  return total;
}

KTD_WORD F load_i8(const int8_t* p) {
  F x;
  for (int i = 0; i < kF; ++i) x[i] = p[i];
  return x;
}
KTD_WORD void store_i8(int8_t* p, I x) {
  for (int i = 0; i < kF; ++i) p[i] = static_cast<int8_t>(x[i]);
}
KTD_WORD F load_f16(const uint16_t* p) {
  F x;
  for (int i = 0; i < kF; ++i) x[i] = half_to_float(p[i]);
  return x;
}
KTD_WORD void store_f16(uint16_t* p, F x) {
  for (int i = 0; i < kF; ++i) p[i] = float_to_half(x[i]);
}
KTD_WORD F load_bf16(const uint16_t* p) {
  F x;
  for (int i = 0; i < kF; ++i) x[i] = bf16_to_float(p[i]);
  return x;
}
KTD_WORD void store_bf16(uint16_t* p, F x) {
  for (int i = 0; i < kF; ++i) p[i] = float_to_bf16(x[i]);
}

// --- bytes ---

KTD_WORD Bytes load_bytes(const void* p) {
  Bytes b;
  __builtin_memcpy(&b, p, sizeof b);
  return b;
}
KTD_WORD Bytes blocks32(const void* p, size_t) {
  return load_bytes(p);
}
KTD_WORD Bytes nibbles16(const uint8_t* p, size_t) {
  Bytes b;
  for (int i = 0; i < 16; ++i) {
    b.at[i] = p[i] & 15;
    b.at[i + 16] = p[i] >> 4;
  }
  return b;
}
KTD_WORD Bytes minus(Bytes a, int8_t b) {
  for (auto& x : a.at) x = static_cast<uint8_t>(x - b);
  return a;
}

struct Signed {
  Bytes w;
};
KTD_WORD Signed prepare(Bytes w) {
  return {w};
}
KTD_WORD I dot(const Signed& s, Bytes act) {
  I x{};
  for (int i = 0; i < 32; ++i) x[i / 4] += static_cast<int8_t>(s.w.at[i]) * static_cast<int8_t>(act.at[i]);
  return x;
}
KTD_WORD I dot(const Bytes& w, Bytes act) {
  I x{};
  for (int i = 0; i < 32; ++i) x[i / 4] += w.at[i] * static_cast<int8_t>(act.at[i]);
  return x;
}

KTD_WORD float half(uint16_t bits) {
  return half_to_float(bits);
}
// --- super-blocks ---

struct Sixteen {
  F low, high;
};

KTD_WORD Eight load_eight(const float* p) {
  return load(p);
}
KTD_WORD Eight set_eight(float x) {
  return set(x);
}
KTD_WORD Eight eight_halves(uint64_t low, uint64_t high) {
  F x;
  for (int i = 0; i < 4; ++i) {
    x[i] = half(static_cast<uint16_t>(low >> (16 * i)));
    x[i + 4] = half(static_cast<uint16_t>(high >> (16 * i)));
  }
  return x;
}
KTD_WORD Sixteen twice(Eight x) {
  return {F{x[0], x[0], x[1], x[1], x[2], x[2], x[3], x[3]},
          F{x[4], x[4], x[5], x[5], x[6], x[6], x[7], x[7]}};
}
KTD_WORD Sixteen sixteen(const int8_t* p) {
  return {load_i8(p), load_i8(p + 8)};
}
KTD_WORD Sixteen load_sixteen(const float* p) {
  return {load(p), load(p + 8)};
}
KTD_WORD Sixteen operator*(Sixteen a, Sixteen b) {
  return {a.low * b.low, a.high * b.high};
}
KTD_WORD Sixteen operator*(Sixteen a, float b) {
  return {a.low * b, a.high * b};
}
KTD_WORD F subtract(F acc, Sixteen a, Sixteen b) {
  return acc - a.low * b.low - a.high * b.high;
}

template <int V>
KTD_WORD F spread32(Eight x) {
  return set(x[V]);
}
template <int V>
KTD_WORD F spread16(Sixteen x) {
  const F part = V < 4 ? x.low : x.high;
  const float a = part[2 * V % 8], b = part[2 * V % 8 + 1];
  return F{a, a, a, a, b, b, b, b};
}

struct ScalesMins {
  Eight scale;
  Sixteen min;
};

KTD_WORD ScalesMins scales_mins(const void* block) {
  const auto* halves = static_cast<const uint16_t*>(block);
  const auto* p = static_cast<const uint8_t*>(block) + 4;
  F scale, min;
  for (int i = 0; i < 4; ++i) {
    scale[i] = static_cast<float>(p[i] & 63);
    min[i] = static_cast<float>(p[i + 4] & 63);
    scale[i + 4] = static_cast<float>((p[i + 8] & 15) | (p[i] >> 6 << 4));
    min[i + 4] = static_cast<float>((p[i + 8] >> 4) | (p[i + 4] >> 6 << 4));
  }
  return {scale * half(halves[0]), twice(min * half(halves[1]))};
}
template <int V>
KTD_WORD Bytes nibbles(const uint8_t* qs) {
  Bytes b;
  for (int i = 0; i < 32; ++i) b.at[i] = qs[32 * (V / 2) + i] >> (V % 2 * 4) & 15;
  return b;
}
template <int V>
KTD_WORD Bytes six_bits(const uint8_t* ql, const uint8_t* qh) {
  constexpr int kHalf = V / 4, kPlane = V % 4;
  Bytes b;
  for (int i = 0; i < 32; ++i) {
    const int low = ql[64 * kHalf + 32 * (kPlane % 2) + i] >> (kPlane / 2 * 4) & 15;
    const int high = qh[32 * kHalf + i] >> (2 * kPlane) & 3;
    b.at[i] = static_cast<uint8_t>(low | high << 4);
  }
  return b;
}

}  // namespace
}  // namespace ktd::scalar
