// SPDX-License-Identifier: Apache-2.0
//
// Watches over `images` images on their way through the network: counts them, those that differ,
// and the clocks from the one that takes the first pixel to the one that gives the last logits.
//
// A fault, or TIMEOUT clocks without the end of an image, ends the run with `failed` instead of
// `done`.

`default_nettype none

module run_control #(
    parameter TIMEOUT = 65536  // clocks; more than an image takes from first pixel to last logit
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        start,           // for one clock
    input  wire [15:0] images,          // at least 1
    input  wire        pixels_taken,    // the network takes a beat
    input  wire        image_done,      // an image's last logits came a clock ago
    input  wire        image_differs,
    input  wire        fault,
    output wire        run,
    output reg         done   = 1'b0,   // for one clock, and cycles and differing hold
    output reg         failed = 1'b0,   // for one clock
    output reg  [31:0] cycles,
    output reg  [15:0] differing
);

    localparam TIMER_WIDTH = $clog2(TIMEOUT) + 1;
    localparam TIMER_FIRST = TIMEOUT - 1;

    reg                   run_reg     = 1'b0;
    reg                   started_reg = 1'b0;  // the first pixel has been taken
    reg [15:0]            left_reg;            // images without logits yet
    reg [TIMER_WIDTH-1:0] timer_reg;           // counts down; negative: the time is up

    wire last = image_done && left_reg == 1;
    wire fail = fault || timer_reg[TIMER_WIDTH-1];

    assign run = run_reg;

    always @(posedge clk) begin
        done   <= run_reg && last && !fail;
        failed <= run_reg && fail;
        timer_reg <= (!run_reg || image_done) ? TIMER_FIRST[TIMER_WIDTH-1:0] : timer_reg - 1'b1;
        if (run_reg) begin
            if (pixels_taken)
                started_reg <= 1'b1;
            if (started_reg && !last)
                cycles <= cycles + 1'b1;
            if (image_done) begin
                left_reg  <= left_reg - 1'b1;
                differing <= differing + {15'd0, image_differs};
            end
            if (last || fail)
                run_reg <= 1'b0;
        end
        if (start) begin
            run_reg     <= 1'b1;
            started_reg <= 1'b0;
            left_reg    <= images;
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
