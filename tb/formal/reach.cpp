// SPDX-License-Identifier: Apache-2.0
//
// Visits every state that a design can get into, and looks for a violated assertion in each.
//
//   reach DESIGN.aig STATES
//
// DESIGN.aig is what Yosys' `write_aiger -symbols` writes. Inputs with a name take all values in every
// clock. All else that nobody drives is unknown: other inputs, and registers at power-up. Unknowns
// are followed in three-valued logic, where a signal may be 1, may be 0, or may be both; and an
// assertion that may be violated counts as violated. That errs on one side only: where no violation is
// found there is none, at any time, for any of the unknown values.
//
// An input named rst may be 1 in any clock: the state that follows is the one that it makes of a
// state of which nothing is known.
//
// Prints `PASS states clocks`: in that many clocks every state is reached. Or `FAIL assertion`, counted
// from 0, and the inputs that lead there, a clock a line. Or `UNKNOWN states` beyond STATES.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using std::size_t;
using Word = std::uint64_t;
using State = std::vector<Word>;  // two bits a latch: may be 1, may be 0

constexpr Word all_ones = ~Word(0);

struct Gate {
    unsigned left, right;
};

// Literal 2v is variable v, 2v + 1 its inverse. Variables: constant 0, inputs, latches, gates.
struct Design {
    std::vector<std::string> inputs;  // names, or nothing
    std::vector<unsigned> nexts, inits;  // of the latches; an init over 1 is unknown
    std::vector<Gate> gates;
    std::vector<unsigned> bads, constraints;

    unsigned first_latch() const { return 1 + static_cast<unsigned>(inputs.size()); }
    unsigned first_gate() const { return first_latch() + static_cast<unsigned>(nexts.size()); }
    size_t variables() const { return first_gate() + gates.size(); }
};

static Design read_aiger(const char *path) {
    std::ifstream file(path, std::ios::binary);
    std::string line, magic;
    auto numbers = [&] {
        std::getline(file, line);
        std::istringstream words(line);
        std::vector<unsigned> result;
        for (unsigned number; words >> number;)
            result.push_back(number);
        return result;
    };
    std::getline(file, magic, ' ');
    std::vector<unsigned> header = numbers();
    if (magic != "aig" || header.size() < 6)
        throw std::runtime_error("no binary AIGER file with assertions");
    header.resize(7);  // maximum, inputs, latches, outputs, gates, bads, constraints
    Design design;
    design.inputs.resize(header[1]);
    for (unsigned i = 0; i < header[2]; i++) {
        const std::vector<unsigned> latch = numbers();
        design.nexts.push_back(latch[0]);
        design.inits.push_back(latch.size() > 1 ? latch[1] : 0);
    }
    for (unsigned i = 0; i < header[3]; i++)
        numbers();
    for (unsigned i = 0; i < header[5]; i++)
        design.bads.push_back(numbers()[0]);
    for (unsigned i = 0; i < header[6]; i++)
        design.constraints.push_back(numbers()[0]);
    auto delta = [&] {
        unsigned value = 0;
        for (unsigned shift = 0;; shift += 7) {
            const int byte = file.get();
            value |= static_cast<unsigned>(byte & 0x7f) << shift;
            if (byte < 0x80)
                return value;
        }
    };
    for (unsigned i = 0; i < header[4]; i++) {
        const unsigned left = 2 * (design.first_gate() + i) - delta();
        design.gates.push_back({left, left - delta()});
    }
    while (std::getline(file, line) && line[0] != 'c') {
        std::istringstream words(line.substr(1));
        unsigned number;
        words >> number;
        if (line[0] == 'i')
            words >> design.inputs.at(number);
    }
    return design;
}

// Marks what the literals depend on: in this clock, or with `before` in earlier ones too.
static std::vector<bool> cone(const Design &design, bool before) {
    std::vector<bool> seen(design.variables());
    std::vector<unsigned> open = design.bads;
    open.insert(open.end(), design.constraints.begin(), design.constraints.end());
    while (!open.empty()) {
        const unsigned variable = open.back() / 2;
        open.pop_back();
        if (seen[variable])
            continue;
        seen[variable] = true;
        if (variable >= design.first_gate()) {
            open.push_back(design.gates[variable - design.first_gate()].left);
            open.push_back(design.gates[variable - design.first_gate()].right);
        } else if (variable >= design.first_latch() && before) {
            open.push_back(design.nexts[variable - design.first_latch()]);
        }
    }
    return seen;
}

// The same with an input at 0, no gate twice, and nothing on which no assertion depends: it would only
// tell states apart. `kept` are the latches that stay.
static Design simplify(const Design &design, unsigned low, std::vector<unsigned> &kept) {
    std::vector<unsigned> moved(design.variables());  // literal of each variable
    for (unsigned variable = 1; variable < design.first_gate(); variable++)
        moved[variable] = variable == low ? 0 : 2 * variable;
    auto literal = [&](unsigned old) { return moved[old / 2] ^ (old & 1); };
    auto rename = [&](std::vector<unsigned> &literals) {
        for (unsigned &one : literals)
            one = literal(one);
    };
    Design merged = design;
    merged.gates.clear();
    std::map<std::pair<unsigned, unsigned>, unsigned> known;
    for (size_t i = 0; i < design.gates.size(); i++) {
        unsigned one = literal(design.gates[i].left), two = literal(design.gates[i].right);
        if (one > two)
            std::swap(one, two);
        unsigned &result = moved[design.first_gate() + i];
        if (one == 0 || one == (two ^ 1)) {
            result = 0;
        } else if (one == 1 || one == two) {
            result = two;
        } else {
            const auto there = known.insert(
                {{one, two}, static_cast<unsigned>(2 * merged.variables())});
            if (there.second)
                merged.gates.push_back({one, two});
            result = there.first->second;
        }
    }
    rename(merged.nexts);
    rename(merged.bads);
    rename(merged.constraints);

    const std::vector<bool> needed = cone(merged, true);
    Design result = merged;
    result.nexts.clear();
    result.inits.clear();
    result.gates.clear();
    moved.assign(merged.variables(), 0);
    unsigned count = 0;
    for (unsigned variable = 0; variable < merged.variables(); variable++)
        if (variable < merged.first_latch() || needed[variable])
            moved[variable] = 2 * count++;
    for (unsigned i = 0; i < merged.nexts.size(); i++)
        if (needed[merged.first_latch() + i]) {
            kept.push_back(i);
            result.nexts.push_back(merged.nexts[i]);
            result.inits.push_back(merged.inits[i]);
        }
    for (size_t i = 0; i < merged.gates.size(); i++)
        if (needed[merged.first_gate() + i])
            result.gates.push_back({literal(merged.gates[i].left), literal(merged.gates[i].right)});
    rename(result.nexts);
    rename(result.bads);
    rename(result.constraints);
    return result;
}

static size_t words_of(const Design &design) { return (design.nexts.size() + 31) / 32; }

static Word bits(const State &state, size_t latch) {
    return state[latch / 32] >> 2 * (latch % 32) & 3;
}

// Bit b of word a becomes bit a of word b.
static void transpose(Word square[64]) {
    Word mask = 0x00000000ffffffff;
    for (int size = 32; size != 0; size >>= 1, mask ^= mask << size)
        for (int row = 0; row < 64; row = (row + size + 1) & ~size) {
            const Word swap = ((square[row] >> size) ^ square[row + size]) & mask;
            square[row] ^= swap << size;
            square[row + size] ^= swap;
        }
}

constexpr unsigned blocks = 4;
constexpr unsigned width = 64 * blocks;

// A clock of a design in `width` lanes at once.
class Lanes {
public:
    struct Bits {
        Word word[blocks];
    };

    explicit Lanes(const Design &design) : design_(design), values_(design.variables()) {
        for (Value &value : values_)
            value = {filled(all_ones), filled(all_ones)};
        values_[0].one = filled(0);
    }

    static Bits filled(Word word) {
        Bits result;
        std::fill(result.word, result.word + blocks, word);
        return result;
    }

    void set_input(size_t input, const Bits &value) {
        values_[1 + input].one = value;
        for (unsigned block = 0; block < blocks; block++)
            values_[1 + input].zero.word[block] = ~value.word[block];
    }

    void run(const Word *const states[width]) {
        Value *latch = &values_[design_.first_latch()];
        Word square[64];
        for (size_t word = 0; word < words_of(design_); word++)
            for (unsigned block = 0; block < blocks; block++) {
                for (unsigned lane = 0; lane < 64; lane++)
                    square[lane] = states[64 * block + lane][word];
                transpose(square);
                for (size_t i = 0; i < 32 && 32 * word + i < design_.nexts.size(); i++) {
                    latch[32 * word + i].one.word[block] = square[2 * i];
                    latch[32 * word + i].zero.word[block] = square[2 * i + 1];
                }
            }
        Value *gate = &values_[design_.first_gate()];
        for (const Gate &both : design_.gates) {
            const Bits &left_one = may_be(both.left), &left_zero = may_be(both.left ^ 1);
            const Bits &right_one = may_be(both.right), &right_zero = may_be(both.right ^ 1);
            for (unsigned block = 0; block < blocks; block++) {
                gate->one.word[block] = left_one.word[block] & right_one.word[block];
                gate->zero.word[block] = left_zero.word[block] | right_zero.word[block];
            }
            gate++;
        }
    }

    // Lanes in which the literal may be 1.
    const Bits &may_be(unsigned literal) const {
        return literal % 2 ? values_[literal / 2].zero : values_[literal / 2].one;
    }

    void next(std::vector<State> &states) const {
        Word square[64];
        for (size_t word = 0; word < words_of(design_); word++)
            for (unsigned block = 0; block < blocks; block++) {
                std::fill(square, square + 64, 0);
                for (size_t i = 0; i < 32 && 32 * word + i < design_.nexts.size(); i++) {
                    square[2 * i] = may_be(design_.nexts[32 * word + i]).word[block];
                    square[2 * i + 1] = may_be(design_.nexts[32 * word + i] ^ 1).word[block];
                }
                transpose(square);
                for (unsigned lane = 0; lane < 64; lane++)
                    states[64 * block + lane][word] = square[lane];
            }
    }

private:
    struct Value {
        Bits one, zero;
    };
    const Design &design_;
    std::vector<Value> values_;
};

// States in the order in which they were found, each once, and how to get there.
class Found {
public:
    explicit Found(size_t words) : words_(words), table_(1 << 12) {}

    size_t size() const { return from_.size(); }
    const Word *operator[](size_t index) const { return &states_[index * words_]; }
    unsigned from(size_t index) const { return from_[index]; }
    unsigned inputs(size_t index) const { return inputs_[index]; }

    void add(const State &state, unsigned from, unsigned inputs) {
        Word hash = 0;
        for (Word word : state) {
            hash = (hash ^ word) * 0x9e3779b97f4a7c15;
            hash ^= hash >> 29;
        }
        if (2 * size() >= table_.size())
            grow();
        size_t slot = hash & (table_.size() - 1);
        for (; table_[slot] != 0; slot = (slot + 1) & (table_.size() - 1))
            if (hashes_[table_[slot] - 1] == hash &&
                std::equal(state.begin(), state.end(), (*this)[table_[slot] - 1]))
                return;
        states_.insert(states_.end(), state.begin(), state.end());
        from_.push_back(from);
        inputs_.push_back(static_cast<unsigned char>(inputs));
        hashes_.push_back(hash);
        table_[slot] = static_cast<unsigned>(size());
    }

private:
    void grow() {
        std::vector<unsigned> larger(2 * table_.size());
        for (size_t index = 0; index < size(); index++) {
            size_t slot = hashes_[index] & (larger.size() - 1);
            while (larger[slot] != 0)
                slot = (slot + 1) & (larger.size() - 1);
            larger[slot] = static_cast<unsigned>(index + 1);
        }
        table_ = std::move(larger);
    }
    size_t words_;
    std::vector<unsigned> table_;  // of numbers from 1 on; 0: empty
    std::vector<Word> states_, hashes_;
    std::vector<unsigned> from_;
    std::vector<unsigned char> inputs_;
};

// What rst makes of a state of which nothing is known.
static State after_reset(const Design &design, unsigned rst) {
    Lanes lanes(design);
    State unknown(words_of(design), all_ones);
    std::vector<const Word *> states(width, unknown.data());
    std::vector<State> after(width, unknown);
    lanes.set_input(rst - 1, Lanes::filled(all_ones));
    lanes.run(states.data());
    lanes.next(after);
    return after[0];
}

static void explore(const Design &whole, size_t most) {
    const auto named = std::find(whole.inputs.begin(), whole.inputs.end(), "rst");
    const bool resets = named != whole.inputs.end();
    const auto rst = resets ? static_cast<unsigned>(1 + (named - whole.inputs.begin())) : 0;
    if (resets && cone(whole, false)[rst])
        throw std::runtime_error("an assertion depends on rst in the same clock");
    std::vector<unsigned> kept;
    const Design design = simplify(whole, rst, kept);

    constexpr unsigned nowhere = ~0u;
    State start(words_of(design)), reset(words_of(design));
    Found found(words_of(design));
    const State whole_reset = resets ? after_reset(whole, rst) : State(words_of(whole));
    for (size_t i = 0; i < kept.size(); i++) {
        const Word init = design.inits[i] == 0 ? 2 : design.inits[i] == 1 ? 1 : 3;
        start[i / 32] |= init << 2 * (i % 32);
        reset[i / 32] |= bits(whole_reset, kept[i]) << 2 * (i % 32);
    }
    found.add(start, nowhere, 0);
    if (resets)
        found.add(reset, nowhere, 0);

    // Lane l has state l / combos and the inputs' values l % combos.
    Lanes lanes(design);
    const std::vector<bool> used = cone(design, true);
    std::vector<size_t> driven;
    for (size_t input = 0; input < design.inputs.size(); input++)
        if (!design.inputs[input].empty() && used[1 + input])
            driven.push_back(input);
    if (driven.size() > 8)
        throw std::runtime_error("more than 8 inputs");
    const unsigned combos = 1u << driven.size();
    for (size_t i = 0; i < driven.size(); i++) {
        Lanes::Bits value = Lanes::filled(0);
        for (unsigned lane = 0; lane < width; lane++)
            value.word[lane / 64] |= Word(lane >> i & 1) << lane % 64;
        lanes.set_input(driven[i], value);
    }

    std::vector<State> after(width, start);
    const Word *states[width];
    size_t clocks = 0, level_end = found.size();
    for (size_t first = 0; first < found.size();) {
        // A batch holds states that are equally far from the start.
        const size_t count = std::min<size_t>(width / combos, level_end - first);
        auto state_of = [&](unsigned lane) {
            return first + std::min<size_t>(lane / combos, count - 1);
        };
        for (unsigned lane = 0; lane < width; lane++)
            states[lane] = found[state_of(lane)];
        lanes.run(states);
        Lanes::Bits allowed = Lanes::filled(all_ones);
        for (unsigned block = 0; block < blocks; block++) {
            for (unsigned literal : design.constraints)
                allowed.word[block] &= lanes.may_be(literal).word[block];
            for (size_t bad = 0; bad < design.bads.size(); bad++) {
                const Word hits = allowed.word[block] & lanes.may_be(design.bads[bad]).word[block];
                if (hits == 0)
                    continue;
                const unsigned lane = 64 * block + static_cast<unsigned>(__builtin_ctzll(hits));
                std::vector<unsigned> way{lane % combos};
                for (size_t at = state_of(lane); found.from(at) != nowhere; at = found.from(at))
                    way.push_back(found.inputs(at));
                std::printf("FAIL %zu\n", bad);
                for (auto clock = way.rbegin(); clock != way.rend(); ++clock) {
                    for (size_t i = 0; i < driven.size(); i++)
                        std::printf("%s%s=%u", i ? " " : "", design.inputs[driven[i]].c_str(),
                                    *clock >> i & 1);
                    std::printf("\n");
                }
                return;
            }
        }
        lanes.next(after);
        for (unsigned lane = 0; lane < count * combos; lane++)
            if (allowed.word[lane / 64] >> lane % 64 & 1)
                found.add(after[lane], static_cast<unsigned>(state_of(lane)), lane % combos);
        if (found.size() > most) {
            std::printf("UNKNOWN %zu\n", found.size());
            return;
        }
        first += count;
        if (first == level_end && level_end != found.size()) {
            level_end = found.size();
            clocks++;
        }
    }
    std::printf("PASS %zu %zu\n", found.size(), clocks);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    try {
        explore(read_aiger(argv[1]), std::stoul(argv[2]));
    } catch (const std::exception &error) {
        std::fprintf(stderr, "reach: %s\n", error.what());
        return 2;
    }
    return 0;
}
