// The cores this process may use: read once from the kernel's files.
#pragma once

#include <string>
#include <vector>

namespace ktd {

struct Core {
  int cpu;      // first logical CPU of the core, as the kernel numbers it
  int package;  // socket
  int node;     // NUMA node
};

struct Topology {
  std::vector<Core> cores;  // physical cores in the process's affinity, one logical CPU each
  double cpu_quota;         // cores' worth of time the cgroup allows; 0 when unlimited

  // Threads to run by default: physical cores, fewer under a cgroup quota.
  int default_threads() const;
};

Topology read_topology();

}  // namespace ktd
