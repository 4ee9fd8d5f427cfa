#include "stages/mla.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "stages/derive.h"
#include "stages/project.h"

namespace ktd {
namespace {

// Of kv_b, the rows of the keys or of the values of every head: it keeps them in turn.
Matrix rows_of_heads(const Matrix& kv_b, const MlaFacts& facts, int64_t first, int64_t rows) {
  Matrix part = kv_b;
  part.rows = rows;
  part.count = facts.heads;
  part.stride = (facts.nope + facts.value) * kv_b.row_bytes;
  part.data = kv_b.row(first);
  return part;
}

// The keys' weights as the file has them.
Matrix stored_keys(const MlaTensors& tensors, const MlaFacts& facts) {
  return tensors.k_b ? matrix(*tensors.k_b) : rows_of_heads(matrix(*tensors.kv_b), facts, 0, facts.nope);
}

}  // namespace

// Scratch of one thread that looks back absorbed: one head of the tokens of a round, or a block of heads.
struct MlaAttention::Absorbed {
  Absorbed(Carver carver, const MlaAttention& m)
      : room(carver, m.view()),
        nope(carver, Round::kTokens, m.facts_.nope, Formats().add(m.k_b_.traits)),
        latent(carver, Round::kTokens, m.facts_.kv_lora, Formats().add(m.v_b_.traits)),
        value(carver.take<float>(Round::kTokens * m.facts_.value)),
        bytes(carver.used()) {}

  TileRoom room;
  Activations nope;    // [tokens, nope]
  Activations latent;  // [tokens, kv_lora]
  float* value;        // [tokens, value]
  size_t bytes;
};

// Scratch of one thread that looks back expanded: the keys and values of one head.
struct MlaAttention::Expanded {
  Expanded(Carver carver, const MlaAttention& m, int64_t n)
      : latents(carver, kExpandTokens, m.facts_.kv_lora, Formats().add(m.keys_.traits).add(m.v_b_.traits)),
        rows(carver.take<float>(kExpandTokens * m.head_width())),
        values(carver.take<float>(kExpandTokens * m.facts_.value)),
        keys(carver.take<float>(kKeyTile * m.head_width())),
        found(carver, n, nullptr, 0),
        bytes(carver.used()) {}

  Activations latents;  // [tokens of the cache, kv_lora]
  float* rows;          // [tokens of the cache, nope + rope]
  float* values;        // [tokens of the cache, value]
  float* keys;          // [nope + rope, kKeyTile]
  Findings found;       // [n], mixed in the attended rows
  size_t bytes;
};

// Scratch of the whole step.
struct MlaAttention::Buffers {
  Buffers(Carver carver, const MlaAttention& m, int64_t n, int threads)
      : normed(carver, n, m.kv_a_.k, Formats().add(m.q_in_.traits).add(m.kv_a_.traits)),
        q_low(carver, m.low_rank_q_ ? n : 0, m.q_b_.k, Formats().add(m.q_b_.traits)),
        attended(carver, n, m.output_.k, Formats().add(m.output_.traits)),
        found(carver, std::min(n, Round::kTokens), m.facts_.heads, m.facts_.kv_lora),
        absorbed(carver.take<float>(std::min(n, Round::kTokens) * m.facts_.heads * m.cache_width())),
        kv(carver.take<float>(n * m.cache_width())),
        q(carver.take<float>(n * m.q_width())),
        turns(carver.take<float>(n * m.facts_.rotary.dims())),
        thread_bytes(std::max(Absorbed(Carver(), m).bytes, Expanded(Carver(), m, n).bytes)),
        base(carver.take<std::byte>(thread_bytes * threads)),
        bytes(carver.used()) {}
  Carver of(int rank) const { return Carver(base + rank * thread_bytes); }

  Activations normed;    // [n, dim]
  Activations q_low;     // [n, q_lora]
  Activations attended;  // [n, heads * value]
  PieceFindings found;
  float* absorbed;  // [tokens of a round, heads, cache_width] queries in the space of the cache rows
  float* kv;        // [n, cache_width]
  float* q;         // [n, heads * (nope + rope)]
  float* turns;     // [n, rope] cos and sin
  size_t thread_bytes;
  std::byte* base;  // Absorbed or Expanded per thread
  size_t bytes;
};

MlaAttention::MlaAttention(MlaFacts facts, const MlaTensors& tensors, Pool& pool)
    : facts_(std::move(facts)),
      derived_(turned_memory(stored_keys(tensors, facts_), (tensors.k_b ? tensors.k_b : tensors.kv_b)->name)),
      norm_(floats(tensors.norm)),
      q_a_norm_(floats(tensors.q_a_norm)),
      kv_a_norm_(floats(tensors.kv_a_norm)),
      low_rank_q_(tensors.q == nullptr),
      q_in_(matrix(low_rank_q_ ? *tensors.q_a : *tensors.q)),
      q_b_(matrix(low_rank_q_ ? *tensors.q_b : *tensors.q)),
      kv_a_(matrix(*tensors.kv_a)),
      k_b_(tensors.k_b ? stored_keys(tensors, facts_) : turned(stored_keys(tensors, facts_), derived_, pool)),
      keys_(tensors.k_b ? turned(stored_keys(tensors, facts_), derived_, pool)
                        : stored_keys(tensors, facts_)),
      v_b_(tensors.v_b ? matrix(*tensors.v_b)
                       : rows_of_heads(matrix(*tensors.kv_b), facts_, facts_.nope, facts_.value)),
      output_(matrix(*tensors.output)) {
  if (output_.traits->act == ActFormat::Q8 && facts_.value % kTileRows != 0)
    throw EngineError("tensor " + tensors.output->name + ": quantised, but a head's " +
                      std::to_string(facts_.value) + " values are not a multiple of " +
                      std::to_string(kTileRows));
}

size_t MlaAttention::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), *this, tokens, threads).bytes;
}

void MlaAttention::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size();
  const Buffers b(Carver(step.scratch), *this, n, team.size());
  const Matrix& q_out = low_rank_q_ ? q_b_ : q_in_;

  team.each(n, [&](int64_t t) { take_in(b, step, t); });
  if (low_rank_q_) {
    project(team, step.kernels,
            {{q_in_, b.normed, b.q_low.row(0), b.q_low.stride()}, {kv_a_, b.normed, b.kv, cache_width()}}, n);
    team.each(n, [&](int64_t t) { latents(b, step, t); });
    project(team, step.kernels, {{q_out, b.q_low, b.q, q_width()}}, n);
  } else {
    project(team, step.kernels, {{q_out, b.normed, b.q, q_width()}, {kv_a_, b.normed, b.kv, cache_width()}},
            n);
    team.each(n, [&](int64_t t) { latents(b, step, t); });
  }
  look_back_expanded(b, team, step);
  each_round(
      step, [&](const Run& run) { return !expands(run); },
      [&](int64_t t) { return Range{0, step.batch.positions[t] + int64_t{1}}; },
      [&](const Round& round) { look_back_absorbed(b, team, step, round); });
  project_onto(team, step.kernels, output_, b.attended, step.hidden, n);
}

void MlaAttention::take_in(const Buffers& b, const Step& step, int64_t t) const {
  step.kernels.rms_norm(step.hidden + t * kv_a_.k, norm_, facts_.eps, b.normed.row(t), kv_a_.k);
  b.normed.publish(step.kernels, t);
  facts_.rotary.angles(step.batch.positions[t], b.turns + t * facts_.rotary.dims());
}

// Norms the low-rank q; norms and rotates the new cache row and stores it.
void MlaAttention::latents(const Buffers& b, const Step& step, int64_t t) const {
  const Kernels& kernels = step.kernels;
  if (low_rank_q_) {
    kernels.rms_norm(b.q_low.row(t), q_a_norm_, facts_.eps, b.q_low.row(t), q_b_.k);
    b.q_low.publish(kernels, t);
  }
  float* row = b.kv + t * cache_width();
  float* key = row + facts_.kv_lora;
  kernels.rms_norm(row, kv_a_norm_, facts_.eps, row, facts_.kv_lora);
  facts_.rotary.rotate(key, b.turns + t * facts_.rotary.dims(), key);
  store_row(step, facts_.layer, t, row, cache_width());
}

// --- many tokens ---

// Per head and token of the cache, multiplications by float: absorbed by every query, in the latent space; or
// expanded, in the head's own, after that token's expansion, whose products take a third of the time.
bool MlaAttention::expands(const Run& run) const {
  constexpr int64_t kCheap = 3;
  const int64_t absorbed = run.count * (cache_width() + facts_.kv_lora);
  const int64_t expanded = run.count * (head_width() + facts_.value);
  return absorbed > expanded + facts_.kv_lora * (facts_.nope + facts_.value) / kCheap;
}

// One phase: every head of every run by itself.
void MlaAttention::look_back_expanded(const Buffers& b, Team& team, const Step& step) const {
  const auto many = [&](const Run& run) { return expands(run); };
  const int64_t runs = std::count_if(step.runs.begin(), step.runs.end(), many);
  if (runs == 0) return;
  team.each(runs * facts_.heads, [&](int64_t i) {
    auto run = std::find_if(step.runs.begin(), step.runs.end(), many);
    for (int64_t skip = i / facts_.heads; skip > 0; --skip)
      run = std::find_if(run + 1, step.runs.end(), many);
    look_expanded(b, step, team.rank(), *run, i % facts_.heads);
  });
}

void MlaAttention::look_expanded(const Buffers& b, const Step& step, int rank, const Run& run,
                                 int64_t head) const {
  Expanded e(b.of(rank), *this, step.batch.size());
  e.found.mix = b.attended.row(run.token) + head * facts_.value;
  e.found.mix_stride = b.attended.stride();
  take_queries(b, step, e.found, run, head);
  const QueryRows queries =
      e.found.queries(0, run.count, b.q + run.token * q_width() + head * head_width(), q_width(), 0.0f);
  const int64_t end = step.batch.positions[run.token] + run.count;
  for (int64_t first = 0; first < end; first += kExpandTokens) {
    const Range range{first, std::min(end, first + kExpandTokens)};
    expand(e, step, run, range, head);
    for (int64_t at = range.begin; at < range.end; at += kKeyTile) {
      step.kernels.attention->turn_keys(e.rows + (at - first) * head_width(), head_width(), head_width(),
                                        e.keys);
      step.kernels.attention->attend(queries, {.keys = e.keys,
                                               .key_width = head_width(),
                                               .values = e.values + (at - first) * facts_.value,
                                               .value_stride = facts_.value,
                                               .value_width = facts_.value,
                                               .first = at,
                                               .count = std::min(kKeyTile, range.end - at)});
    }
  }
  for (int64_t i = 0; i < run.count; ++i) {
    e.found.finish(i, facts_.value);
    b.attended.publish(step.kernels, run.token + i, head * facts_.value, facts_.value);
  }
}

// Rotates and scales a head's queries where they lie.
void MlaAttention::take_queries(const Buffers& b, const Step& step, const Findings& found, const Run& run,
                                int64_t head) const {
  for (int64_t i = 0; i < run.count; ++i) {
    const int64_t t = run.token + i;
    float *q = b.q + t * q_width() + head * head_width(), *rotated = q + facts_.nope;
    facts_.rotary.rotate(rotated, b.turns + t * facts_.rotary.dims(), rotated);
    for (int64_t j = 0; j < head_width(); ++j) q[j] *= facts_.scale;
    found.start(i, facts_.value, {0, step.batch.positions[t] + int64_t{1}}, nullptr);
  }
}

// Keys and values of a head from the cache rows in `range`.
void MlaAttention::expand(const Expanded& e, const Step& step, const Run& run, const Range& range,
                          int64_t head) const {
  const int64_t count = range.end - range.begin, rope = facts_.rotary.dims();
  load_rows(step, facts_.layer, run.token, range.begin, count, 0, facts_.kv_lora, e.latents.row(0),
            e.latents.stride());
  load_rows(step, facts_.layer, run.token, range.begin, count, facts_.kv_lora, rope, e.rows + facts_.nope,
            head_width());
  for (int64_t i = 0; i < count; ++i) e.latents.publish(step.kernels, i);
  multiply(step.kernels, keys_, head, e.latents, count, e.rows, head_width());
  multiply(step.kernels, v_b_, head, e.latents, count, e.values, facts_.value);
}

// --- few tokens ---

// Queries to the latent space, pieces of their looks, and what these found back to values: a phase each, but
// where there is one token with one piece, a block of heads goes through all three at once.
void MlaAttention::look_back_absorbed(const Buffers& b, Team& team, const Step& step,
                                      const Round& round) const {
  const int64_t heads = facts_.heads, looks = round.count * round.pieces;
  const int64_t wide = std::clamp(heads * looks / (2 * team.size()), std::min(heads, int64_t{8}), kHeadBlock);
  const int64_t blocks = (heads + wide - 1) / wide;
  const auto block = [&](int64_t slot, int64_t i) {
    return Heads{slot, i * wide, std::min(wide, heads - i * wide)};
  };
  if (looks == 1) {
    team.each(blocks, [&](int64_t i) {
      const Heads some = block(0, i);
      for (int64_t h = 0; h < some.count; ++h) absorb(b, step, team.rank(), round, some.first + h);
      look_absorbed(b, step, team.rank(), round, some, 0);
      for (int64_t h = 0; h < some.count; ++h) settle(b, step, team.rank(), round, some.first + h);
    });
    return;
  }
  team.each(heads, [&](int64_t head) { absorb(b, step, team.rank(), round, head); });
  team.each(looks * blocks, [&](int64_t i) {
    look_absorbed(b, step, team.rank(), round, block(i / round.pieces / blocks, i / round.pieces % blocks),
                  i % round.pieces);
  });
  team.each(heads, [&](int64_t head) { settle(b, step, team.rank(), round, head); });
}

// A head's queries in the space of the cache rows: k_b . q_nope, then the rotated part, both times the scale.
void MlaAttention::absorb(const Buffers& b, const Step& step, int rank, const Round& round,
                          int64_t head) const {
  const Absorbed a(b.of(rank), *this);
  const int64_t stride = facts_.heads * cache_width();
  float* absorbed = b.absorbed + head * cache_width();
  const auto query = [&](int64_t slot) { return b.q + round.tokens[slot] * q_width() + head * head_width(); };
  for (int64_t slot = 0; slot < round.count; ++slot) {
    std::copy_n(query(slot), facts_.nope, a.nope.row(slot));
    a.nope.publish(step.kernels, slot);
  }
  multiply(step.kernels, k_b_, head, a.nope, round.count, absorbed, stride);
  for (int64_t slot = 0; slot < round.count; ++slot, absorbed += stride) {
    facts_.rotary.rotate(query(slot) + facts_.nope, b.turns + round.tokens[slot] * facts_.rotary.dims(),
                         absorbed + facts_.kv_lora);
    for (int64_t j = 0; j < cache_width(); ++j) absorbed[j] *= facts_.scale;
  }
}

void MlaAttention::look_absorbed(const Buffers& b, const Step& step, int rank, const Round& round,
                                 const Heads& heads, int64_t i) const {
  const int64_t token = round.tokens[heads.slot], row = b.found.row(heads.slot, i, heads.first);
  const Range all{0, step.batch.positions[token] + int64_t{1}};
  if (i >= pieces(all)) return;
  for (int64_t h = 0; h < heads.count; ++h) b.found.all().start(row + h, facts_.kv_lora, all, nullptr);
  const float* q = b.absorbed + (heads.slot * facts_.heads + heads.first) * cache_width();
  attend(b.found.all().queries(row, heads.count, q, cache_width(), 0.0f), view(), step, token, piece(all, i),
         Absorbed(b.of(rank), *this).room);
}

// Back from the latent space: v_b . mix, as a head's part of the attended rows.
void MlaAttention::settle(const Buffers& b, const Step& step, int rank, const Round& round,
                          int64_t head) const {
  const Absorbed a(b.of(rank), *this);
  for (int64_t slot = 0; slot < round.count; ++slot) {
    const Range all{0, step.batch.positions[round.tokens[slot]] + int64_t{1}};
    b.found.merge(step.kernels, slot, head, pieces(all), a.latent.row(slot));
    a.latent.publish(step.kernels, slot);
  }
  multiply(step.kernels, v_b_, head, a.latent, round.count, a.value, facts_.value);
  for (int64_t slot = 0; slot < round.count; ++slot) {
    const int64_t token = round.tokens[slot], at = head * facts_.value;
    std::copy_n(a.value + slot * facts_.value, facts_.value, b.attended.row(token) + at);
    b.attended.publish(step.kernels, token, at, facts_.value);
  }
}

}  // namespace ktd
