// SPDX-License-Identifier: Apache-2.0
//
// A constant multiple of a code, in plain logic: each half of the code has a table of 16 numbers, which
// is a lookup table for each bit, and the two are added. No synthesis tool takes this for a multiplier.
//
//   y = FACTOR * x + OFFSET, modulo 2^WIDTH
//
// Latency: 2 clocks in which `enable` is high.

`default_nettype none

module code_multiple #(
    parameter WIDTH  = 16,  // bits of the result, 64 at most
    parameter FACTOR = 1,   // these two have a sign, and 32 bits
    parameter OFFSET = 0
) (
    input  wire             clk,
    input  wire             enable,
    input  wire [7:0]       x,
    output wire [WIDTH-1:0] y
);

    // Bit 16*place + i is bit `place` of first + step*i.
    function [16*WIDTH-1:0] columns;
        input signed [63:0] first, step;
        integer i, place;
        reg signed [63:0] number;
        begin
            number = first;
            for (i = 0; i < 16; i = i + 1) begin
                for (place = 0; place < WIDTH; place = place + 1)
                    columns[16*place + i] = number[place];
                number = number + step;
            end
        end
    endfunction

    localparam [16*WIDTH-1:0] LOW  = columns({{32{OFFSET[31]}}, OFFSET[31:0]},
                                             {{32{FACTOR[31]}}, FACTOR[31:0]});
    localparam [16*WIDTH-1:0] HIGH = columns(64'd0, {{28{FACTOR[31]}}, FACTOR[31:0], 4'd0});

    reg [WIDTH-1:0] low_reg, high_reg, y_reg;

    assign y = y_reg;

    genvar place;
    generate
        for (place = 0; place < WIDTH; place = place + 1) begin : gen_place
            wire [15:0] low  = LOW[16*place +: 16];
            wire [15:0] high = HIGH[16*place +: 16];
            always @(posedge clk)
                if (enable) begin
                    low_reg[place]  <= low[x[3:0]];
                    high_reg[place] <= high[x[7:4]];
                end
        end
    endgenerate

    always @(posedge clk)
        if (enable)
            y_reg <= low_reg + high_reg;

endmodule

`default_nettype wire
