// SPDX-License-Identifier: Apache-2.0
//
// A board's top module with its UART pins on a pseudo-terminal, bit by bit: what a host opens
// instead of /dev/ttyUSB0. Started by fpga/board_sim.py:
//
//   simulator CLOCKS_A_BIT BAUD
//
// It says "port: /dev/pts/N" and runs until SIGINT or SIGTERM. The host's baud rate counts: at half
// of BAUD, bits are twice CLOCKS_A_BIT long. As with a cable, hosts may come and go, and what none
// of them reads is lost.

#include <asm/termbits.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"

namespace {

// Longer than the board's synchronisers, and than the clocks between two of its states.
constexpr uint64_t QUIET_CLOCKS = 256;
// How often the terminal is asked for bytes while the line is free.
constexpr uint64_t POLL_CLOCKS = 32;
// How soon a signal is noticed while the clock stands.
constexpr int POLL_MS = 100;

volatile sig_atomic_t stopped = 0;

void stop(int) { stopped = 1; }

[[noreturn]] void fail(const char* what) {
    perror(what);
    exit(1);
}

// The pseudo-terminal. It keeps the host's side open as well, so that hosts can hang up.
class Terminal {
public:
    explicit Terminal(unsigned baud) {
        master_ = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
        if (master_ < 0 || grantpt(master_) < 0 || unlockpt(master_) < 0) fail("posix_openpt");
        slave_ = open(name(), O_RDWR | O_NOCTTY);
        if (slave_ < 0) fail(name());
        termios2 mode{};
        mode.c_cflag = CS8 | CREAD | CLOCAL | BOTHER;
        mode.c_ispeed = mode.c_ospeed = baud;
        mode.c_cc[VMIN] = 1;
        if (ioctl(slave_, TCSETS2, &mode) < 0) fail("TCSETS2");
    }

    const char* name() const { return ptsname(master_); }

    // The baud rate that the host has set.
    unsigned baud() const {
        termios2 mode{};
        return ioctl(slave_, TCGETS2, &mode) < 0 ? 0 : mode.c_ospeed;
    }

    // The next byte from the host, or -1. Asks the operating system only if `ask`.
    int get(bool ask) {
        if (taken_ == filled_ && ask) {
            const ssize_t count = read(master_, buffer_, sizeof buffer_);
            taken_ = 0;
            filled_ = count > 0 ? count : 0;
        }
        return taken_ == filled_ ? -1 : buffer_[taken_++];
    }

    // If nobody has read for so long that there is no room, the byte is lost.
    void put(uint8_t byte) {
        if (write(master_, &byte, 1) < 0) return;
    }

    // Wait, but not long, for a byte from the host.
    bool wait() const {
        pollfd event{master_, POLLIN, 0};
        return poll(&event, 1, POLL_MS) > 0;
    }

private:
    int master_;
    int slave_;
    uint8_t buffer_[4096];
    ssize_t taken_ = 0;
    ssize_t filled_ = 0;
};

// From a byte to the levels of a line; the next byte can start right after the stop bit.
class Sender {
public:
    bool idle() const { return bits_ == 0; }

    void send(uint8_t byte, double now, double bit) {
        frame_ = 0x200 | byte << 1;  // start bit, 8 data bits, stop bit
        bits_ = 10;
        bit_ = bit;
        // Bytes in a row lose no fraction of a clock.
        if (end_ < now - 1) end_ = now;
        end_ += bit_;
    }

    bool level(double now) {
        if (bits_ && now >= end_) {
            frame_ >>= 1;
            if (--bits_) end_ += bit_;
        }
        return !bits_ || (frame_ & 1);
    }

private:
    unsigned frame_ = 0;
    int bits_ = 0;
    double bit_ = 0;
    double end_ = 0;  // of the present bit
};

// From the levels of a line to bytes, each bit sampled in its middle.
class Receiver {
public:
    bool idle() const { return bits_ == 0; }

    // A byte once its stop bit has come, else -1.
    int sample(bool level, double now, double bit) {
        if (bits_ == 0) {
            if (!level && before_) {
                bits_ = 10;
                next_ = now + bit / 2;
                bit_ = bit;
            }
        } else if (now >= next_) {
            next_ += bit_;
            frame_ = frame_ >> 1 | unsigned{level} << 9;
            if (--bits_ == 0) {
                before_ = level;
                return frame_ >> 1 & 0xFF;
            }
        }
        before_ = level;
        return -1;
    }

private:
    unsigned frame_ = 0;
    int bits_ = 0;
    double bit_ = 0;
    double next_ = 0;
    bool before_ = true;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s CLOCKS_A_BIT BAUD\n", argv[0]);
        return 2;
    }
    const double clocks_a_bit = atof(argv[1]);
    const unsigned baud = atoi(argv[2]);

    // Not longer than whoever started it.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sigaction action {};
    action.sa_handler = stop;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);

    Terminal terminal(baud);
    Sender sender;
    Receiver receiver;
    const auto top = std::make_unique<Vtop>();
    const CData& active = top->rootp->top__DOT__core__DOT__active;
    double bit = clocks_a_bit;
    uint64_t quiet = 0;
    top->uart_rx = 1;

    printf("port: %s\n", terminal.name());
    fflush(stdout);

    for (uint64_t clock = 0; !stopped; ++clock) {
        if (quiet > QUIET_CLOCKS) {
            if (!terminal.wait()) continue;
            quiet = 0;
        }
        if (sender.idle()) {
            const int byte = terminal.get(clock % POLL_CLOCKS == 0);
            if (byte >= 0) {
                const unsigned rate = terminal.baud();
                if (rate) bit = clocks_a_bit * baud / rate;
                sender.send(byte, clock, bit);
            }
        }
        top->uart_rx = sender.level(clock);
        top->clk_in = 1;
        top->eval();
        top->clk_in = 0;
        top->eval();
        const int byte = receiver.sample(top->uart_tx, clock, bit);
        if (byte >= 0) terminal.put(byte);
        const bool busy = active || !sender.idle() || !receiver.idle() || !top->uart_tx;
        quiet = busy ? 0 : quiet + 1;
    }
    return 0;
}
