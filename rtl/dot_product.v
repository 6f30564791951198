// SPDX-License-Identifier: Apache-2.0
//
// Sum of SIMD products of an unsigned activation and a signed weight, one set every clock.
//
//   sum = x[0]*w[0] + ... + x[SIMD-1]*w[SIMD-1], exact
//
// The products and each level of the adder tree are registered: latency 1 + ceil(log2(SIMD)) clocks
// with `enable` high.

`default_nettype none

module dot_product #(
    parameter SIMD      = 1,  // products at once
    parameter SUM_WIDTH = 16 + ((SIMD > 1) ? $clog2(SIMD) : 0)
) (
    input  wire                        clk,
    input  wire                        enable,
    input  wire        [8*SIMD-1:0]    x,   // uint8, element i at bits 8*i
    input  wire        [8*SIMD-1:0]    w,   // int8, element i at bits 8*i
    output wire signed [SUM_WIDTH-1:0] sum
);

    localparam LEVELS = (SIMD > 1) ? $clog2(SIMD) : 0;

    function integer nodes;  // of a level: ceil(SIMD / 2^level)
        input integer level_of;
        nodes = (SIMD + (1 << level_of) - 1) >> level_of;
    endfunction

    genvar level, node;
    generate
        // Level 0 holds the products; node n of a level above adds nodes 2n and 2n+1 of the one
        // below, or hands on 2n where that has no partner. |x*w| <= 255*128 fits into 16 bits, and
        // every level needs one bit more.
        for (level = 0; level <= LEVELS; level = level + 1) begin : gen_level
            for (node = 0; node < nodes(level); node = node + 1) begin : gen_node
                reg signed [15+level:0] value_reg;
                if (level == 0) begin : gen_product
                    wire signed [8:0] activation = {1'b0, x[8*node +: 8]};
                    wire signed [7:0] weight     = w[8*node +: 8];
                    always @(posedge clk)
                        if (enable)
                            value_reg <= activation * weight;
                end else if (2*node + 1 < nodes(level - 1)) begin : gen_sum
                    always @(posedge clk)
                        if (enable)
                            value_reg <= gen_level[level-1].gen_node[2*node].value_reg
                                       + gen_level[level-1].gen_node[2*node+1].value_reg;
                end else begin : gen_pass
                    wire signed [14+level:0] below =
                        gen_level[level-1].gen_node[2*node].value_reg;
                    always @(posedge clk)
                        if (enable)
                            value_reg <= {below[14+level], below};
                end
            end
        end
    endgenerate

    assign sum = gen_level[LEVELS].gen_node[0].value_reg;

endmodule

`default_nettype wire
