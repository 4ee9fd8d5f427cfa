// The vector words in plain C++ over the compiler's generic vectors: 8 floats. It builds anywhere;
// simd.h says what each word means.
#pragma once

#include "base/half.h"

namespace ktd::scalar {
namespace {

using F [[gnu::vector_size(32)]] = float;
using I [[gnu::vector_size(32)]] = int32_t;

constexpr int kF = 8;
constexpr int kFloatSums = 4;
constexpr int kTokenTile = 4;
constexpr int kQueryRows = 4;
constexpr int kKeyVectors = 1;

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
KTD_WORD void store_sums(float* p, F a, F b, F c, F d) {
  p[0] = sum(a), p[1] = sum(b), p[2] = sum(c), p[3] = sum(d);
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

KTD_WORD void turn_floats(const float* rows, size_t stride, float* to, size_t apart) {
  for (size_t i = 0; i < kF; ++i)
    for (size_t j = 0; j < kF; ++j) to[j * apart + i] = rows[i * stride + j];
}

KTD_WORD float half(uint16_t bits) {
  return half_to_float(bits);
}

}  // namespace
}  // namespace ktd::scalar
