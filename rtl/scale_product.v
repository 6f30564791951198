// SPDX-License-Identifier: Apache-2.0
//
// Product of an accumulator and its channel's scale, in as many clocks as there are for it.
//
//   product = acc * scale, exact, CLOCKS + 1 clocks after `start`
//
//   CLOCKS 1: starts every clock; parts of the scale that fit a DSP block are multiplied at once.
//   CLOCKS over 1: a digit of the scale a clock, the lowest first; starts are more than CLOCKS
//                  clocks apart. Digits of up to 4 bits take plain logic, no multiplier.
//
// A constant scale takes plain logic too. The product stays for one clock.

`default_nettype none

module scale_product #(
    parameter ACC_WIDTH   = 32,  // bits of the signed accumulator
    parameter SCALE_WIDTH = 24,  // bits of the unsigned scale
    parameter CLOCKS      = 1,   // 1..SCALE_WIDTH
    parameter CONSTANT    = 0    // scale is always the same
) (
    input  wire                             clk,
    input  wire                             enable,  // else nothing moves
    input  wire                             start,   // acc and scale are there
    input  wire signed [ACC_WIDTH-1:0]      acc,
    input  wire [SCALE_WIDTH-1:0]           scale,
    output wire [ACC_WIDTH+SCALE_WIDTH-1:0] product  // signed
);

    localparam WIDTH  = ACC_WIDTH + SCALE_WIDTH;
    localparam BLOCK  = 17;  // bits of an unsigned factor that a DSP block takes
    localparam PARTS  = (CLOCKS > 1) ? CLOCKS : (SCALE_WIDTH + BLOCK - 1) / BLOCK;
    localparam DIGIT  = (SCALE_WIDTH + PARTS - 1) / PARTS;  // bits of a part
    localparam PADDED = PARTS * DIGIT;
    localparam FABRIC = CONSTANT != 0 || (CLOCKS > 1 && DIGIT <= 4);

    wire [PADDED-1:0] padded;
    assign padded[SCALE_WIDTH-1:0] = scale;

    generate
        if (PADDED > SCALE_WIDTH) begin : gen_pad
            assign padded[PADDED-1:SCALE_WIDTH] = {(PADDED-SCALE_WIDTH){1'b0}};
        end
    endgenerate

    genvar part;
    generate
        if (CLOCKS > 1) begin : gen_serial
            // What is left of the scale moves out of `low` as the product's lower bits move in;
            // its upper bits stand in `high`.
            reg signed [ACC_WIDTH-1:0]       acc_reg, high_reg;
            reg        [PADDED-1:0]          low_reg;
            wire       [ACC_WIDTH+DIGIT-1:0] sum;

            digit_sum #(
                .ACC_WIDTH(ACC_WIDTH), .DIGIT(DIGIT), .FABRIC(FABRIC)
            ) digit (
                .acc(acc_reg), .digit(low_reg[DIGIT-1:0]), .before(high_reg), .sum(sum)
            );

            always @(posedge clk)
                if (enable) begin
                    if (start) begin
                        acc_reg  <= acc;
                        high_reg <= 0;
                        low_reg  <= padded;
                    end else begin
                        high_reg <= sum[ACC_WIDTH+DIGIT-1:DIGIT];
                        low_reg  <= {sum[DIGIT-1:0], low_reg[PADDED-1:DIGIT]};
                    end
                end

            wire [ACC_WIDTH+PADDED-1:0] both = {high_reg, low_reg};
            assign product = both[WIDTH-1:0];
            if (PADDED > SCALE_WIDTH) begin : gen_sign
                wire unused = &{1'b0, both[ACC_WIDTH+PADDED-1:WIDTH]};
            end
        end else begin : gen_at_once
            wire unused = &{1'b0, start};
            reg  [(ACC_WIDTH+DIGIT)*PARTS-1:0] parts_reg;
            reg  [WIDTH-1:0]                   product_reg;

            for (part = 0; part < PARTS; part = part + 1) begin : gen_part
                wire [ACC_WIDTH+DIGIT-1:0] sum;

                digit_sum #(
                    .ACC_WIDTH(ACC_WIDTH), .DIGIT(DIGIT), .FABRIC(FABRIC)
                ) digit (
                    .acc(acc), .digit(padded[DIGIT*part +: DIGIT]), .before({ACC_WIDTH{1'b0}}),
                    .sum(sum)
                );

                always @(posedge clk)
                    if (enable)
                        parts_reg[(ACC_WIDTH+DIGIT)*part +: ACC_WIDTH+DIGIT] <= sum;
            end

            function [WIDTH-1:0] total;
                input [(ACC_WIDTH+DIGIT)*PARTS-1:0] parts;
                integer i;
                reg signed [WIDTH-1:0] one;
                begin
                    total = 0;
                    for (i = 0; i < PARTS; i = i + 1) begin
                        one   = $signed(parts[(ACC_WIDTH+DIGIT)*i +: ACC_WIDTH+DIGIT]);
                        total = total + (one << DIGIT*i);
                    end
                end
            endfunction

            always @(posedge clk)
                if (enable)
                    product_reg <= total(parts_reg);

            assign product = product_reg;
        end
    endgenerate

endmodule

`default_nettype wire
