// SPDX-License-Identifier: Apache-2.0
//
// Sum of SIMD products of an unsigned activation and a signed weight, one set every clock.
//
//   sum = x[0]*w[0] + ... + x[SIMD-1]*w[SIMD-1], exact
//
// FABRIC of the products are computed in plain logic, which is another for weights that never
// change; the others where the tool sees fit: in DSP blocks, as long as there are some.
// Latency: 2 clocks for the products, and one for each level of the adder tree:
// 2 + ceil(log2(SIMD)).

`default_nettype none

module dot_product #(
    parameter SIMD      = 1,  // products at once
    parameter FABRIC    = 0,  // those of them in plain logic, the lowest
    parameter CONSTANT  = 0,  // w is always the same
    parameter SUM_WIDTH = 16 + ((SIMD > 1) ? $clog2(SIMD) : 0)
) (
    input  wire                        clk,
    input  wire        [8*SIMD-1:0]    x,   // uint8, element i at bits 8*i
    input  wire        [8*SIMD-1:0]    w,   // int8, element i at bits 8*i
    output wire signed [SUM_WIDTH-1:0] sum
);

    localparam LEVELS = (SIMD > 1) ? $clog2(SIMD) : 0;

    function integer nodes;  // of a level: ceil(SIMD / 2^level)
        input integer level_of;
        nodes = (SIMD + (1 << level_of) - 1) >> level_of;
    endfunction

    generate
        if (FABRIC > SIMD) begin : gen_bad_fabric
            error_FABRIC_must_be_at_most_SIMD error();
        end
    endgenerate

    // |x*w| <= 255*128 fits into 16 bits, and every level of the tree needs one bit more.
    wire [16*SIMD-1:0] terms;

    generate
        if (FABRIC > 0 && CONSTANT != 0) begin : gen_constant
            constant_products #(
                .COUNT(FABRIC)
            ) low (
                .clk(clk), .x(x[8*FABRIC-1:0]), .w(w[8*FABRIC-1:0]), .y(terms[16*FABRIC-1:0])
            );
        end else if (FABRIC > 0) begin : gen_fabric
            lut_products #(
                .COUNT(FABRIC)
            ) low (
                .clk(clk), .x(x[8*FABRIC-1:0]), .w(w[8*FABRIC-1:0]), .y(terms[16*FABRIC-1:0])
            );
        end
        if (FABRIC < SIMD) begin : gen_blocks
            products #(
                .COUNT(SIMD-FABRIC)
            ) high (
                .clk(clk), .x(x[8*SIMD-1:8*FABRIC]), .w(w[8*SIMD-1:8*FABRIC]),
                .y(terms[16*SIMD-1:16*FABRIC])
            );
        end
    endgenerate

    genvar level, node;
    generate
        // Level 0 is the products; node n of a level above adds nodes 2n and 2n+1 of the one below,
        // or hands on 2n where that has no partner.
        for (level = 0; level <= LEVELS; level = level + 1) begin : gen_level
            for (node = 0; node < nodes(level); node = node + 1) begin : gen_node
                wire signed [15+level:0] value;
                if (level == 0) begin : gen_product
                    assign value = terms[16*node +: 16];
                end else begin : gen_register
                    reg signed [15+level:0] value_reg;
                    assign value = value_reg;
                    if (2*node + 1 < nodes(level - 1)) begin : gen_sum
                        always @(posedge clk)
                            value_reg <= gen_level[level-1].gen_node[2*node].value
                                       + gen_level[level-1].gen_node[2*node+1].value;
                    end else begin : gen_pass
                        wire signed [14+level:0] below =
                            gen_level[level-1].gen_node[2*node].value;
                        always @(posedge clk)
                            value_reg <= {below[14+level], below};
                    end
                end
            end
        end
    endgenerate

    assign sum = gen_level[LEVELS].gen_node[0].value;

endmodule

`default_nettype wire
