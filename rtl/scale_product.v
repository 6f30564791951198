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
// A product stays for one clock.

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

    localparam BLOCK  = 17;  // bits of an unsigned factor that a DSP block takes
    localparam PARTS  = (CLOCKS > 1) ? CLOCKS : (SCALE_WIDTH + BLOCK - 1) / BLOCK;
    localparam DIGIT  = (SCALE_WIDTH + PARTS - 1) / PARTS;  // bits of a part
    localparam PADDED = PARTS * DIGIT;
    localparam WIDE   = ACC_WIDTH + PADDED;
    localparam FABRIC = (CONSTANT != 0) ? 2 : (CLOCKS > 1 && DIGIT <= 4) ? 1 : 0;

    wire [PADDED-1:0] padded;
    wire [WIDE-1:0]   whole;
    assign padded[SCALE_WIDTH-1:0] = scale;
    assign product                 = whole[ACC_WIDTH+SCALE_WIDTH-1:0];

    generate
        if (PADDED > SCALE_WIDTH) begin : gen_pad
            wire unused = &{1'b0, whole[WIDE-1:ACC_WIDTH+SCALE_WIDTH]};
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
            ) add (
                .acc(acc_reg), .digit(low_reg[DIGIT-1:0]), .addend(high_reg), .sum(sum)
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

            assign whole = {high_reg, low_reg};
        end else begin : gen_at_once
            // Each part's product at its place.
            reg  [WIDE*PARTS-1:0] parts_reg;
            reg  [WIDE-1:0]       total_reg;
            wire                  unused = &{1'b0, start};

            for (part = 0; part < PARTS; part = part + 1) begin : gen_part
                localparam HIGHER = PADDED - DIGIT*(part + 1);
                wire [ACC_WIDTH+DIGIT-1:0] sum;
                wire [WIDE-1:0]            placed;

                digit_sum #(
                    .ACC_WIDTH(ACC_WIDTH), .DIGIT(DIGIT), .FABRIC(FABRIC)
                ) add (
                    .acc(acc), .digit(padded[DIGIT*part +: DIGIT]), .addend({ACC_WIDTH{1'b0}}),
                    .sum(sum)
                );

                assign placed[DIGIT*part +: ACC_WIDTH+DIGIT] = sum;
                if (part > 0) begin : gen_zeros
                    assign placed[DIGIT*part-1:0] = {(DIGIT*part){1'b0}};
                end
                if (HIGHER > 0) begin : gen_sign
                    assign placed[WIDE-1:WIDE-HIGHER] = {HIGHER{sum[ACC_WIDTH+DIGIT-1]}};
                end

                always @(posedge clk)
                    if (enable)
                        parts_reg[WIDE*part +: WIDE] <= placed;
            end

            function [WIDE-1:0] total;
                input [WIDE*PARTS-1:0] parts;
                integer i;
                begin
                    total = 0;
                    for (i = 0; i < PARTS; i = i + 1)
                        total = total + parts[WIDE*i +: WIDE];
                end
            endfunction

            always @(posedge clk)
                if (enable)
                    total_reg <= total(parts_reg);

            assign whole = total_reg;
        end
    endgenerate

endmodule

`default_nettype wire
