// SPDX-License-Identifier: Apache-2.0
//
// Adds the product of an accumulator and a digit.
//
//   sum = addend + acc * digit
//
// FABRIC 1: in plain logic, an addition a bit; no synthesis tool takes this for a multiplier.
// FABRIC 2: the same for a digit that never changes, whose zeros cost nothing.
// Combinational.

`default_nettype none

module digit_sum #(
    parameter ACC_WIDTH = 32,
    parameter DIGIT     = 1,  // bits of the digit
    parameter FABRIC    = 0
) (
    input  wire signed [ACC_WIDTH-1:0]       acc,
    input  wire        [DIGIT-1:0]           digit,  // unsigned
    input  wire signed [ACC_WIDTH-1:0]       addend,
    output wire signed [ACC_WIDTH+DIGIT-1:0] sum
);

    genvar place;
    generate
        if (FABRIC != 0) begin : gen_fabric
            // Each row leaves its lowest bit, and hands the others on to the next place.
            for (place = 0; place < DIGIT; place = place + 1) begin : gen_row
                wire [ACC_WIDTH-1:0] left;
                wire [ACC_WIDTH:0]   row;

                if (place == 0) begin : gen_first
                    assign left = addend;
                end else begin : gen_next
                    assign left = gen_row[place-1].row[ACC_WIDTH:1];
                end

                if (FABRIC == 1) begin : gen_gated
                    gated_sum #(
                        .WIDTH(ACC_WIDTH+1)
                    ) add (
                        .a({left[ACC_WIDTH-1], left}), .take_a(1'b1),
                        .b({acc[ACC_WIDTH-1], acc}), .take_b(digit[place]),
                        .sum(row)
                    );
                end else begin : gen_constant
                    assign row = {left[ACC_WIDTH-1], left}
                               + (digit[place] ? {acc[ACC_WIDTH-1], acc} : {(ACC_WIDTH+1){1'b0}});
                end

                assign sum[place] = row[0];
            end
            assign sum[ACC_WIDTH+DIGIT-1:DIGIT] = gen_row[DIGIT-1].row[ACC_WIDTH:1];
        end else begin : gen_product
            wire signed [DIGIT:0]             factor  = {1'b0, digit};
            wire signed [ACC_WIDTH+DIGIT-1:0] product = acc * factor;
            assign sum = product + {{DIGIT{addend[ACC_WIDTH-1]}}, addend};
        end
    endgenerate

endmodule

`default_nettype wire
