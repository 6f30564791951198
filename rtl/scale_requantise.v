// SPDX-License-Identifier: Apache-2.0
//
// From accumulators to the uint8 codes that leave the layer, by scales of any value.
//
//   y = clamp(round(acc * scale / 2^SHIFT) + ZERO_POINT, LOW, HIGH)
//
// With a scale of at most SCALE_WIDTH bits for each of PE channels, which PIXELS pixels share.
// round() is that of scale_round. Export has shown that y is what the rule in float32 gives, for
// every accumulator that can be: model/hardware/scaling.py.
// Nothing waits but for `enable`. Latency: CLOCKS + 2 clocks of `enable`.

`default_nettype none

module scale_requantise #(
    parameter PIXELS      = 1,   // pixels at once
    parameter PE          = 1,   // channels at once
    parameter ACC_WIDTH   = 32,  // bits of the signed accumulator
    parameter SCALE_WIDTH = 24,
    parameter SHIFT       = 24,  // 1 or more
    parameter EXACT       = 0,   // see scale_round; accumulators then count as float32 has them
    parameter CLOCKS      = 1,   // of a product; results come further apart, see scale_product
    parameter CONSTANT    = 0,   // the scales are always the same
    parameter ZERO_POINT  = 0,   // see clamp_code
    parameter LOW         = 0,
    parameter HIGH        = 255
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire                           enable,   // else nothing moves
    input  wire [ACC_WIDTH*PIXELS*PE-1:0] s_accs,   // pixel p, channel pe at lane p*PE + pe
    input  wire [SCALE_WIDTH*PE-1:0]      s_scales, // of the same clock
    input  wire                           s_last,
    input  wire                           s_valid,
    output wire [8*PIXELS*PE-1:0]         m_codes,
    output wire                           m_last,
    output wire                           m_valid
);

    localparam LARGE    = EXACT != 0 && ACC_WIDTH > 25;  // for float32
    localparam FACTOR   = LARGE ? ACC_WIDTH + 1 : ACC_WIDTH;
    localparam WIDTH    = FACTOR + SCALE_WIDTH;
    localparam QUOTIENT = (WIDTH > SHIFT + 9) ? WIDTH - SHIFT : 9;

    genvar pixel, pe;
    generate
        for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (pe = 0; pe < PE; pe = pe + 1) begin : gen_pe
                localparam LANE = pixel*PE + pe;

                wire [ACC_WIDTH-1:0] acc = s_accs[ACC_WIDTH*LANE +: ACC_WIDTH];
                wire [FACTOR-1:0]    factor;
                wire [WIDTH-1:0]     product;
                wire [QUOTIENT-1:0]  quotient;
                reg  [QUOTIENT-1:0]  quotient_reg;
                wire                 round_up;
                reg                  round_up_reg;

                if (LARGE) begin : gen_large
                    float_integer #(
                        .WIDTH(ACC_WIDTH)
                    ) float (
                        .x(acc), .y(factor)
                    );
                end else begin : gen_exact
                    assign factor = acc;
                end

                scale_product #(
                    .ACC_WIDTH(FACTOR), .SCALE_WIDTH(SCALE_WIDTH), .CLOCKS(CLOCKS),
                    .CONSTANT(CONSTANT)
                ) multiply (
                    .clk(clk), .enable(enable), .start(s_valid),
                    .acc(factor),
                    .scale(s_scales[SCALE_WIDTH*pe +: SCALE_WIDTH]), .product(product)
                );

                scale_round #(
                    .WIDTH(WIDTH), .SHIFT(SHIFT), .EXACT(EXACT)
                ) round (
                    .product(product), .quotient(quotient), .round_up(round_up)
                );

                always @(posedge clk)
                    if (enable) begin
                        quotient_reg <= quotient;
                        round_up_reg <= round_up;
                    end

                clamp_code #(
                    .WIDTH(QUOTIENT), .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH)
                ) clamp (
                    .quotient(quotient_reg), .round_up(round_up_reg), .y(m_codes[8*LANE +: 8])
                );
            end
        end
    endgenerate

    // What comes of a start, CLOCKS + 2 clocks later.
    generate
        if (CLOCKS > 1) begin : gen_count
            // Two results are never nearer than a product is long, so one counter does.
            localparam COUNT_WIDTH = $clog2(CLOCKS + 1);
            reg [COUNT_WIDTH-1:0] left_reg = 0;
            reg                   last_reg, done_last_reg;
            reg [1:0]             done_reg = 0;

            assign m_valid = done_reg[1];
            assign m_last  = done_last_reg;

            always @(posedge clk) begin
                if (enable) begin
                    if (s_valid) begin
                        left_reg <= CLOCKS[COUNT_WIDTH-1:0];
                        last_reg <= s_last;
                    end else if (left_reg != 0)
                        left_reg <= left_reg - 1'b1;
                    done_reg <= {done_reg[0], left_reg == 1};
                    if (done_reg[0])
                        done_last_reg <= last_reg;
                end
                if (rst) begin
                    left_reg <= 0;
                    done_reg <= 0;
                end
            end
        end else begin : gen_shift
            reg [CLOCKS+1:0] valid_reg = 0;
            reg [CLOCKS+1:0] last_reg;

            assign m_valid = valid_reg[CLOCKS+1];
            assign m_last  = last_reg[CLOCKS+1];

            always @(posedge clk) begin
                if (enable) begin
                    valid_reg <= {valid_reg[CLOCKS:0], s_valid};
                    last_reg  <= {last_reg[CLOCKS:0], s_last};
                end
                if (rst)
                    valid_reg <= 0;
            end
        end
    endgenerate

endmodule

`default_nettype wire
