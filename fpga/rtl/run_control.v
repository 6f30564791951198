// SPDX-License-Identifier: Apache-2.0
//
// Watches over images on their way through the network: counts them, those that differ,
// and the clocks from the one that takes the first pixel to the one that gives the last logits.
//
// A fault, or too long a time without the end of an image, ends the run with `failed` instead of
// `done`.

`default_nettype none

module run_control (
    input  wire        clk,
    input  wire        rst,
    input  wire        start,           // for one clock
    input  wire        single,          // one image; else so many:
    input  wire [15:0] images,          // at least 1
    input  wire        pixels_taken,    // the network takes a beat
    input  wire        image_done,      // an image's last logits came a clock ago
    input  wire        image_differs,
    input  wire        fault,
    output wire        watchdog_restart,  // to timeout
    input  wire        watchdog_expired,
    output wire        run,
    output reg         done   = 1'b0,   // for one clock, and cycles and differing hold
    output reg         failed = 1'b0,   // for one clock
    output reg  [31:0] cycles,
    output reg  [15:0] differing
);

    reg        run_reg     = 1'b0;
    reg        started_reg = 1'b0;   // the first pixel has been taken
    reg [15:0] image_reg;            // number of the one whose logits are next, from 1

    wire last = image_done && (single || image_reg == images);
    wire fail = fault || watchdog_expired;

    assign run              = run_reg;
    assign watchdog_restart = image_done || fail;

    always @(posedge clk) begin
        done   <= run_reg && last && !fail;
        failed <= run_reg && fail;
        if (run_reg) begin
            if (pixels_taken)
                started_reg <= 1'b1;
            if (started_reg && !last)
                cycles <= cycles + 1'b1;
            if (image_done) begin
                image_reg <= image_reg + 1'b1;
                differing <= differing + {15'd0, image_differs};
            end
            if (last || fail)
                run_reg <= 1'b0;
        end
        if (start) begin
            run_reg     <= 1'b1;
            started_reg <= 1'b0;
            image_reg   <= 1;
            cycles      <= 0;
            differing   <= 0;
        end
        if (rst) begin
            run_reg     <= 1'b0;
            started_reg <= 1'b0;
            done        <= 1'b0;
            failed      <= 1'b0;
        end
    end

endmodule

`default_nettype wire
