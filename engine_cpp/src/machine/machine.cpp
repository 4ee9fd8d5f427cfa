#include "machine/machine.h"

#include <string>

#include "base/error.h"

namespace ktd {
namespace {

int checked_threads(const Topology& topology, int threads) {
  const int most = static_cast<int>(topology.cores.size());
  if (threads == 0) return topology.default_threads();
  if (threads < 0 || threads > most)
    throw EngineError("threads must be 1 to " + std::to_string(most) +
                      " (the cores this process may use), not " + std::to_string(threads));
  return threads;
}

}  // namespace

Machine::Machine(int threads, std::string_view isa)
    : topology(read_topology()),
      kernels(ktd::kernels(choose_isa(isa))),
      pool(topology, checked_threads(topology, threads)) {}

}  // namespace ktd
