// Blocks with one scale, and sometimes a minimum.
#pragma once

#include "weights.cuh"

namespace ktd {

struct Q4_0 : Planes<32, 16, 2> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q4_0>& view, int64_t group, const Table&) {
    const uint4 q = view.word<0, uint4>(group);
    const float d = half_to_float(view.word<1, uint16_t>(group));
    Group out{.scale = {d}, .offset = {-8.0f * d}};
    open_codes<4>({q.x, q.y, q.z, q.w}, out);
    return out;
  }
};

struct Q4_1 : Planes<32, 16, 4> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q4_1>& view, int64_t group, const Table&) {
    const uint4 q = view.word<0, uint4>(group);
    const uint32_t dm = view.word<1, uint32_t>(group);
    Group out{.scale = {low_half(dm)}, .offset = {high_half(dm)}};
    open_codes<4>({q.x, q.y, q.z, q.w}, out);
    return out;
  }
};

struct Q5_0 : Planes<32, 16, 4, 2> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q5_0>& view, int64_t group, const Table&) {
    const uint4 q = view.word<0, uint4>(group);
    const float d = half_to_float(view.word<2, uint16_t>(group));
    Group out{.scale = {d}, .offset = {-16.0f * d}};
    open_codes<4, 1>({q.x, q.y, q.z, q.w}, {view.word<1, uint32_t>(group)}, out);
    return out;
  }
};

struct Q5_1 : Planes<32, 16, 4, 4> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q5_1>& view, int64_t group, const Table&) {
    const uint4 q = view.word<0, uint4>(group);
    const uint32_t dm = view.word<2, uint32_t>(group);
    Group out{.scale = {low_half(dm)}, .offset = {high_half(dm)}};
    open_codes<4, 1>({q.x, q.y, q.z, q.w}, {view.word<1, uint32_t>(group)}, out);
    return out;
  }
};

struct Q8_0 : Planes<32, 32, 2> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = NoTable;

  DEVICE static Group open(const View<Q8_0>& view, int64_t group, const Table&) {
    Group out{.scale = {half_to_float(view.word<1, uint16_t>(group))}};
    open_bytes(view.word<0, uint4>(2 * group), view.word<0, uint4>(2 * group + 1), out);
    return out;
  }
};

struct Q8_1 : Planes<32, 32, 4> {
  static constexpr bool kHalves = false, kOffset = false;
  using Table = NoTable;

  DEVICE static Group open(const View<Q8_1>& view, int64_t group, const Table&) {
    Group out{.scale = {low_half(view.word<1, uint32_t>(group))}};
    open_bytes(view.word<0, uint4>(2 * group), view.word<0, uint4>(2 * group + 1), out);
    return out;
  }
};

struct Q1_0 : Planes<128, 16, 2> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q1_0>& view, int64_t group, const Table&) {
    const float d = half_to_float(view.word<1, uint16_t>(group / kGroups));
    Group out{.scale = {2.0f * d}, .offset = {-d}};
    open_codes<1>({view.word<0, uint32_t>(group)}, out);
    return out;
  }
};

struct Q2_0 : Planes<64, 16, 2> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<Q2_0>& view, int64_t group, const Table&) {
    const uint2 q = view.word<0, uint2>(group);
    const float d = half_to_float(view.word<1, uint16_t>(group / kGroups));
    Group out{.scale = {d}, .offset = {-d}};
    open_codes<2>({q.x, q.y}, out);
    return out;
  }
};

struct TQ2_0 : Planes<256, 64, 2> {
  static constexpr bool kHalves = false, kOffset = true;
  using Table = NoTable;

  DEVICE static Group open(const View<TQ2_0>& view, int64_t group, const Table&) {
    const uint2 q = view.word<0, uint2>(group);
    const float d = half_to_float(view.word<1, uint16_t>(group / kGroups));
    Group out{.scale = {d}, .offset = {-d}};
    open_codes<2>({q.x, q.y}, out);
    return out;
  }
};

}  // namespace ktd
