// Barriers: of a thread block, of a cluster, and mbarriers.
#include "machine.h"

namespace emu {

void barrier_all() {
    Gate& g = block->everyone;
    if (++g.arrived < block->alive) return wait_for_generation(g.generation, g.generation, "__syncthreads");
    g.arrived = 0, g.generation++;
}

void barrier(unsigned id, unsigned count) {
    if (id >= 16) fail("bar.sync %u", id);
    Gate& gate = block->barriers[id];
    if (gate.arrived && gate.key != count) fail("bar.sync %u of %u, others came for %u", id, count, gate.key);
    gate.key = count;
    if (++gate.arrived < count) return wait_for_generation(gate.generation, gate.generation, "bar.sync");
    gate.arrived = 0, gate.generation++;
}

void cluster_arrive() {
    if (current->cluster_arrived) fail("barrier.cluster.arrive twice");
    current->cluster_arrived = true, current->cluster_generation = cluster.generation;
    if (++cluster.arrived == cluster.alive) cluster.arrived = 0, cluster.generation++;
}

void cluster_wait() {
    if (!current->cluster_arrived) fail("barrier.cluster.wait without arrive");
    current->cluster_arrived = false;
    if (cluster.generation == current->cluster_generation) wait_for_generation(cluster.generation, current->cluster_generation, "the cluster");
}

// An mbarrier in its eight bytes: the lowest bit of the phase under way, arrivals and bytes to come.
struct Mbarrier {
    uint64_t phase : 1, magic : 7, expected : 12, pending : 12;
    int64_t bytes : 32;
};
static_assert(sizeof(Mbarrier) == 8);
constexpr unsigned kMagic = 0x5A;

static Mbarrier* mbarrier_at(unsigned address) {
    auto* m = (Mbarrier*)shared_at(address, sizeof(Mbarrier), "mbarrier");
    if (m->magic != kMagic) fail("no mbarrier at %x", address);
    return m;
}

static void turn(Mbarrier* m) {
    if (m->pending == 0 && m->bytes == 0) m->phase ^= 1, m->pending = m->expected;
}

static void count(Mbarrier* m, unsigned address, unsigned expected_bytes) {
    if (m->pending == 0) fail("more arrivals at mbarrier %x than it counts (%d bytes to come)", address, (int)m->bytes);
    m->bytes += expected_bytes, m->pending--;
    turn(m);
}

void mbarrier_init(unsigned address, int arrivals) {
    Mbarrier m{0, kMagic, (unsigned)arrivals, (unsigned)arrivals, 0};
    memcpy(shared_at(address, sizeof m, "mbarrier.init"), &m, sizeof m);
}

void mbarrier_arrive(unsigned address, unsigned expected_bytes) {
    yield_sometimes();
    count(mbarrier_at(address), address, expected_bytes);
    yield_sometimes();
}

void mbarrier_count(unsigned address) { count(mbarrier_at(address), address, 0); }

void mbarrier_complete(unsigned address, unsigned bytes) {
    Mbarrier* m = mbarrier_at(address);
    m->bytes -= bytes;
    turn(m);
}

bool mbarrier_test(unsigned address, unsigned parity) {
    if (parity > 1) fail("parity %u", parity);
    yield_sometimes();
    return mbarrier_at(address)->phase != parity;
}

void mbarrier_wait(unsigned address, unsigned parity) {
    if (mbarrier_test(address, parity)) return;
    current->wait = {"mbarrier", nullptr, 0, absolute(address), parity, (uint64_t*)mbarrier_at(address)};
    yield();
}

void describe_mbarrier(unsigned address) {
    Mbarrier* m = mbarrier_at(address);
    printf(" %x: in phase %u, %u of %u arrivals and %d bytes to come", address & 0xFFFFFF, (unsigned)m->phase, (unsigned)m->pending, (unsigned)m->expected, (int)m->bytes);
}

}  // namespace emu
