#include "stages/gqa.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "stages/project.h"

namespace ktd {
namespace {

bool alone(const Run& run) {
  return run.count == 1;
}

}  // namespace

// Scratch of one thread: the tokens of a block with the heads that share a key head, or those heads alone.
struct GqaAttention::Block {
  Block(Carver carver, const GqaAttention& g)
      : room(carver, g.view(0)),
        q(carver.take<float>(g.block_tokens() * g.group() * g.facts_.head)),
        found(carver, g.block_tokens() * g.group(),
              carver.take<float>(g.block_tokens() * g.group() * g.facts_.head), g.facts_.head),
        bytes(carver.used()) {}

  TileRoom room;
  float* q;  // [tokens, group, head]
  Findings found;
  size_t bytes;
};

// Scratch of the whole step.
struct GqaAttention::Buffers {
  Buffers(Carver carver, const GqaAttention& g, int64_t n, int threads)
      : normed(carver, n, g.q_.k, Formats().add(g.q_.traits).add(g.k_.traits).add(g.v_.traits)),
        attended(carver, n, g.output_.k, Formats().add(g.output_.traits)),
        found(carver, std::min(n, Round::kTokens), g.facts_.heads, g.facts_.head),
        q(carver.take<float>(n * g.q_.rows)),
        kv(carver.take<float>(n * g.cache_width())),
        turns(carver.take<float>(n * g.facts_.rotary.dims())),
        out(carver.take<float>(g.outcome_.plain() ? 0 : n * g.output_.rows)),
        block_bytes(Block(Carver(), g).bytes),
        base(carver.take<std::byte>(block_bytes * threads)),
        bytes(carver.used()) {}
  Block block(const GqaAttention& g, int rank) const { return Block(Carver(base + rank * block_bytes), g); }

  Activations normed;    // [n, dim]
  Activations attended;  // [n, heads * head]
  PieceFindings found;
  float* q;      // [n, heads * head]
  float* kv;     // [n, cache_width] all keys, then all values
  float* turns;  // [n, rope] cos and sin
  float* out;    // [n, dim] unless it goes to the hidden state at once
  size_t block_bytes;
  std::byte* base;  // a Block per thread
  size_t bytes;
};

GqaAttention::GqaAttention(GqaFacts facts, const GqaTensors& tensors)
    : facts_(std::move(facts)),
      norm_{floats(tensors.norm), floats(tensors.norm_bias), facts_.eps},
      v_bias_(floats(tensors.v_bias)),
      sinks_(floats(tensors.sinks)),
      outcome_{floats(tensors.output_bias), floats(tensors.post_norm), facts_.eps},
      q_finish_{floats(tensors.q_bias), floats(tensors.q_norm), facts_.heads},
      k_finish_{floats(tensors.k_bias), floats(tensors.k_norm), facts_.kv_heads},
      q_(tensors.q),
      k_(tensors.k),
      v_(tensors.v),
      output_(tensors.output) {
  if (facts_.kv_heads < 1 || facts_.heads % facts_.kv_heads != 0)
    throw EngineError("attention " + std::to_string(facts_.layer) + ": " + std::to_string(facts_.heads) +
                      " heads cannot share " + std::to_string(facts_.kv_heads) + " key heads");
  if (output_.traits->act == ActFormat::Q8 && facts_.head % kTileRows != 0)
    throw EngineError("attention " + std::to_string(facts_.layer) +
                      ": the output is quantised, but a head's " + std::to_string(facts_.head) +
                      " values are not a multiple of " + std::to_string(kTileRows));
}

size_t GqaAttention::scratch_bytes(int64_t tokens, int threads) const {
  return Buffers(Carver(), *this, tokens, threads).bytes;
}

CacheView GqaAttention::view(int64_t kv_head) const {
  const int64_t key = kv_head * facts_.head;
  return {facts_.layer, key, facts_.head, facts_.kv_heads * facts_.head + key, facts_.head};
}

void GqaAttention::run(Team& team, Step& step) const {
  const int64_t n = step.batch.size(), dim = output_.rows;
  const Buffers b(Carver(step.scratch), *this, n, team.size());

  team.each(n, [&](int64_t t) { take_in(b, step, t); });
  project(team, step.kernels,
          {{q_, b.normed, b.q, q_.rows},
           {k_, b.normed, b.kv, cache_width()},
           {v_, b.normed, b.kv + k_.rows, cache_width()}},
          n);
  team.each(n, [&](int64_t t) { finish(b, step, t); });
  look_back_together(b, team, step);
  each_round(
      step, alone, [&](int64_t t) { return sees(step, t); },
      [&](const Round& round) { look_back_alone(b, team, step, round); });
  if (outcome_.plain()) return project_onto(team, step.kernels, output_, b.attended, step.hidden, n);
  project(team, step.kernels, {{output_, b.attended, b.out, dim}}, n);
  team.each(n, [&](int64_t t) { outcome_.add(step.kernels, b.out + t * dim, step.hidden + t * dim, dim); });
}

Range GqaAttention::sees(const Step& step, int64_t token) const {
  const int64_t end = facts_.causal ? step.batch.positions[token] + int64_t{1} : step.batch.length(token);
  return {facts_.window > 0 ? std::max(int64_t{0}, end - facts_.window) : 0, end};
}

// One phase: all tokens of a prompt, in blocks; the last, which see most, go first.
void GqaAttention::look_back_together(const Buffers& b, Team& team, const Step& step) const {
  const int64_t most = block_tokens();
  const auto items = [&](const Run& run) {
    return alone(run) ? 0 : (run.count + most - 1) / most * facts_.kv_heads;
  };
  const int64_t total = std::accumulate(step.runs.begin(), step.runs.end(), int64_t{0},
                                        [&](int64_t sum, const Run& run) { return sum + items(run); });
  if (total == 0) return;
  team.each(total, [&](int64_t i) {
    i = total - 1 - i;
    for (const Run& run : step.runs) {
      if (i >= items(run)) {
        i -= items(run);
        continue;
      }
      const int64_t skipped = i / facts_.kv_heads * most;
      return look_in_block(b, step, team.rank(), {run.token + skipped, std::min(most, run.count - skipped)},
                           i % facts_.kv_heads);
    }
  });
}

void GqaAttention::look_in_block(const Buffers& b, const Step& step, int rank, const Run& run,
                                 int64_t kv_head) const {
  const Block block = b.block(*this, rank);
  const int64_t width = group() * facts_.head, at = kv_head * width;
  for (int64_t i = 0; i < run.count; ++i) {
    std::copy_n(b.q + (run.token + i) * q_.rows + at, width, block.q + i * width);
    const Range range = sees(step, run.token + i);
    for (int64_t h = 0; h < group(); ++h)
      block.found.start(i * group() + h, facts_.head, range, sink(kv_head * group() + h));
  }
  const Range range{sees(step, run.token).begin, sees(step, run.token + run.count - 1).end};
  attend(block.found.queries(0, run.count * group(), block.q, facts_.head, facts_.softcap), view(kv_head),
         step, run.token, range, block.room);
  for (int64_t i = 0; i < run.count; ++i) {
    for (int64_t h = 0; h < group(); ++h) block.found.finish(i * group() + h, facts_.head);
    std::copy_n(block.found.mix + i * width, width, b.attended.row(run.token + i) + at);
    b.attended.publish(step.kernels, run.token + i, at, width);
  }
}

// Single tokens: one phase for the pieces of their looks, and one to put these together.
void GqaAttention::look_back_alone(const Buffers& b, Team& team, const Step& step, const Round& round) const {
  const int64_t heads = facts_.kv_heads;
  team.each(round.count * heads * round.pieces, [&](int64_t i) {
    look_in_piece(b, step, team.rank(), round, i / round.pieces / heads, i / round.pieces % heads,
                  i % round.pieces);
    if (round.pieces == 1) settle(b, step, round, i / heads, i % heads);
  });
  if (round.pieces == 1) return;
  team.each(round.count * heads, [&](int64_t i) { settle(b, step, round, i / heads, i % heads); });
}

void GqaAttention::look_in_piece(const Buffers& b, const Step& step, int rank, const Round& round,
                                 int64_t slot, int64_t kv_head, int64_t i) const {
  const int64_t token = round.tokens[slot], head = kv_head * group(), row = b.found.row(slot, i, head);
  const Range all = sees(step, token);
  if (i >= pieces(all)) return;
  for (int64_t h = 0; h < group(); ++h)
    b.found.all().start(row + h, facts_.head, all, i == 0 ? sink(head + h) : nullptr);
  attend(b.found.all().queries(row, group(), b.q + token * q_.rows + head * facts_.head, facts_.head,
                               facts_.softcap),
         view(kv_head), step, token, piece(all, i), b.block(*this, rank).room);
}

// The heads of a token that share a key head: their part of the attended row.
void GqaAttention::settle(const Buffers& b, const Step& step, const Round& round, int64_t slot,
                          int64_t kv_head) const {
  const int64_t token = round.tokens[slot], first = kv_head * group();
  for (int64_t head = first; head < first + group(); ++head)
    b.found.merge(step.kernels, slot, head, pieces(sees(step, token)),
                  b.attended.row(token) + head * facts_.head);
  b.attended.publish(step.kernels, token, first * facts_.head, group() * facts_.head);
}

void GqaAttention::take_in(const Buffers& b, const Step& step, int64_t t) const {
  norm_.apply(step.kernels, step.hidden + t * q_.k, b.normed.row(t), q_.k);
  b.normed.publish(step.kernels, t);
  facts_.rotary.angles(step.batch.positions[t], b.turns + t * facts_.rotary.dims());
}

// Makes q ready for the scores and stores the new cache row.
void GqaAttention::finish(const Buffers& b, const Step& step, int64_t t) const {
  const float* turn = b.turns + t * facts_.rotary.dims();
  float *q = b.q + t * q_.rows, *key = b.kv + t * cache_width(), *value = key + k_.rows;
  finish_heads(q_finish_, step.kernels, turn, q);
  for (int64_t i = 0; i < q_.rows; ++i) q[i] *= facts_.scale;
  finish_heads(k_finish_, step.kernels, turn, key);
  if (v_bias_) step.kernels.axpy(1.0f, v_bias_, value, v_.rows);
  store_row(step, facts_.layer, t, key, cache_width());
}

void GqaAttention::finish_heads(const Finish& finish, const Kernels& kernels, const float* turn,
                                float* x) const {
  if (finish.bias) kernels.axpy(1.0f, finish.bias, x, finish.heads * facts_.head);
  for (int64_t h = 0; h < finish.heads; ++h, x += facts_.head) {
    if (finish.norm) kernels.rms_norm(x, finish.norm, facts_.eps, x, facts_.head);
    facts_.rotary.rotate(x, turn, x);
  }
}

}  // namespace ktd
