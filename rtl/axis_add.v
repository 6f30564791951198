// SPDX-License-Identifier: Apache-2.0
//
// Residual add: a beat of each of two streams of the same shape becomes a beat of codes.
//
//   y[c] = clamp(floor((FACTOR_A*a[c] + FACTOR_B*b[c] + OFFSET) / 2^SHIFT) - less, LOW, HIGH)
//
// Rules that round ties to even need `less`, 0 or 1. Where TIE > 0, it is 1 where the quotient is odd
// and its remainder below 2^TIE. With a PATCH_FILE it is a bit for each pair of codes instead: bit b%8
// of word 32*a + b/8. model/hardware/adding.py finds numbers that equal the rule for all pairs.
//
// Streams are in raster order, channel fastest, LANES channels of PIXELS pixels a beat; a group of
// pixels takes ceil(CHANNELS / LANES) beats.
// Takes a beat of each every clock, unless a result waits. Latency: 3 clocks, and 1 of axis_fifo.
// Equals model.network.layers.add.add_codes.

`default_nettype none

module axis_add #(
    parameter POSITIONS  = 1,         // pixels an image, a multiple of PIXELS
    parameter CHANNELS   = 1,
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // pixels a beat
    parameter SUM_WIDTH  = 11,        // bits that hold every sum, SHIFT + 9 at least
    parameter FACTOR_A   = 1,
    parameter FACTOR_B   = 1,
    parameter OFFSET     = 0,
    parameter SHIFT      = 0,
    parameter TIE        = 0,         // less than SHIFT
    parameter LOW        = 0,
    parameter HIGH       = 255,
    parameter PATCH_FILE = "",        // 8192 words of 8 bits
    parameter FIFO_DEPTH = 2          // output beats taken up
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire [2*8*PIXELS*LANES-1:0] s_axis_tdata,  // a in the lower bits, as in all below
    input  wire [1:0]                  s_axis_tvalid,
    output wire [1:0]                  s_axis_tready,
    output wire [8*PIXELS*LANES-1:0]   m_axis_tdata,
    output wire                        m_axis_tlast,
    output wire                        m_axis_tvalid,
    input  wire                        m_axis_tready
);

    localparam GROUPS         = POSITIONS / PIXELS;
    localparam BEATS          = (CHANNELS + LANES - 1) / LANES;  // a group
    localparam GROUP_WIDTH    = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam BEAT_WIDTH     = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam QUOTIENT_WIDTH = SUM_WIDTH - SHIFT;
    localparam signed [QUOTIENT_WIDTH-1:0] LEAST = LOW[QUOTIENT_WIDTH-1:0];
    localparam signed [QUOTIENT_WIDTH-1:0] MOST  = HIGH[QUOTIENT_WIDTH-1:0];

    // Bit i of these belongs to level i of the pipeline, which moves or holds as one. It holds while
    // a result waits for the FIFO.
    reg  [3:1]                valid_reg = 0;
    reg  [3:1]                last_reg;
    wire                      last, ready, unused_group_last, unused_beat_last;
    wire                      valid  = &s_axis_tvalid;
    wire                      enable = !valid_reg[3] || ready;
    wire [GROUP_WIDTH-1:0]    unused_group;
    wire [BEAT_WIDTH-1:0]     unused_beat;
    wire [8*PIXELS*LANES-1:0] results;

    // A beat of the one goes with a beat of the other.
    assign s_axis_tready = {s_axis_tvalid[0], s_axis_tvalid[1]} & {2{enable}};

    fold_counter #(
        .GROUPS(GROUPS), .CHUNKS(BEATS)
    ) count (
        .clk(clk), .rst(rst), .step(valid && enable),
        .group(unused_group), .chunk(unused_beat),
        .group_last(unused_group_last), .chunk_last(unused_beat_last), .last(last)
    );

    always @(posedge clk) begin
        if (enable) begin
            valid_reg <= {valid_reg[2:1], valid};
            last_reg  <= {last_reg[2:1], last};
        end
        if (rst)
            valid_reg <= 0;
    end

    genvar lane;
    generate
        for (lane = 0; lane < PIXELS*LANES; lane = lane + 1) begin : gen_lane
            wire [7:0]                  a = s_axis_tdata[8*lane +: 8];
            wire [7:0]                  b = s_axis_tdata[8*(PIXELS*LANES + lane) +: 8];
            wire [SUM_WIDTH-1:0]        a_multiple, b_multiple;
            reg  signed [SUM_WIDTH-1:0] sum_reg;
            wire                        less;

            code_multiple #(
                .WIDTH(SUM_WIDTH), .FACTOR(FACTOR_A), .OFFSET(OFFSET)
            ) multiple_of_a (
                .clk(clk), .enable(enable), .x(a), .y(a_multiple)
            );
            code_multiple #(
                .WIDTH(SUM_WIDTH), .FACTOR(FACTOR_B)
            ) multiple_of_b (
                .clk(clk), .enable(enable), .x(b), .y(b_multiple)
            );

            always @(posedge clk)
                if (enable)
                    sum_reg <= a_multiple + b_multiple;

            wire signed [QUOTIENT_WIDTH-1:0] quotient = sum_reg[SUM_WIDTH-1:SHIFT];

            if (PATCH_FILE != "") begin : gen_patch
                (* rom_style = "block" *)
                reg [7:0] memory [0:8191];
                reg [7:0] word_reg;
                reg [2:0] bit_reg;
                reg [3:2] less_reg;
                initial $readmemh(PATCH_FILE, memory);
                always @(posedge clk)
                    if (enable) begin
                        word_reg <= memory[{a, b[7:3]}];
                        bit_reg  <= b[2:0];
                        less_reg <= {less_reg[2], word_reg[bit_reg]};
                    end
                assign less = less_reg[3];
            end else if (TIE > 0) begin : gen_tie
                assign less = quotient[0] && sum_reg[SHIFT-1:TIE] == 0;
            end else begin : gen_floor
                assign less = 1'b0;
            end

            if (SHIFT > 0) begin : gen_unused
                wire unused = &{1'b0, sum_reg[SHIFT-1:0]};
            end

            // Both clamps look at the quotient alone, beside the subtraction.
            assign results[8*lane +: 8] = (quotient <= LEAST) ? LEAST[7:0] :
                                          (quotient > MOST)   ? MOST[7:0] :
                                                                quotient[7:0] - {7'b0, less};
        end
    endgenerate

    axis_fifo #(
        .WIDTH(8*PIXELS*LANES), .DEPTH(FIFO_DEPTH)
    ) result_fifo (
        .clk(clk), .rst(rst),
        .s_axis_tdata(results), .s_axis_tlast(last_reg[3]), .s_axis_tvalid(valid_reg[3]),
        .s_axis_tready(ready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready)
    );

endmodule

`default_nettype wire
